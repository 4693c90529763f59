//! What the operator counts, and the page that tells it.

use defs_telemetry::label::{Controller, OperatorLease, Outcome, Reconciled};
use defs_telemetry::{ExportMetrics, OperatorMetrics, Reading, Registry, spans, trace};
use kube::runtime::controller::Action;
use kube::runtime::reflector::Lookup;
use tokio::time::Instant;

use crate::error::Error;

/// All metrics of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) operator: OperatorMetrics,
    pub(crate) export: ExportMetrics,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::new();
        let operator = OperatorMetrics::register(&mut registry);
        let export = ExportMetrics::register(&mut registry);
        Self { registry, operator, export }
    }

    /// The page as of now.
    pub(crate) fn page(&self) -> String {
        self.registry.encode()
    }

    /// The same as values.
    pub(crate) fn read(&self) -> Vec<Reading> {
        self.registry.read()
    }

    /// This process leads.
    pub(crate) fn leads(&self) {
        self.operator.leads.of(OperatorLease).set(1);
    }

    /// Looks at an object in a trace that begins here, and counts it.
    pub(crate) async fn reconcile<K: Lookup<DynamicType = ()>>(
        &self,
        controller: Controller,
        object: &K,
        work: impl Future<Output = Result<Action, Error>>,
    ) -> Result<Action, Error> {
        let namespace = object.namespace().unwrap_or_default();
        let name = format!("{namespace}/{}", object.name().unwrap_or_default());
        let (active, began) = (self.operator.active.of(controller), Instant::now());
        active.rise();
        let done = trace::within(spans::reconcile(controller.name(), &name), work).await;
        active.fall();
        self.operator.took.of(controller).took(began.elapsed());
        let outcome = match &done {
            Ok(action) if *action == Action::await_change() => Outcome::Success,
            Ok(_) => Outcome::RequeueAfter,
            Err(_) => Outcome::Error,
        };
        self.operator.reconciled.of(Reconciled(controller, outcome)).one();
        if done.is_err() {
            self.operator.failed.of(controller).one();
        }
        done
    }
}
