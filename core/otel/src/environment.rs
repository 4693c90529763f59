//! What the standard variables of OpenTelemetry ask for. A value that makes no sense is told and
//! passed over, as the standard says: a wrong word about telemetry is no reason not to serve.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

/// How long one export may take, unless it is said.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Between two exports of metrics, unless it is said.
const METRIC_INTERVAL: Duration = Duration::from_secs(60);

/// The most headers, and attributes of the resource, that are taken.
const PAIRS_MAX: usize = 128;

/// What is to be exported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plan {
    /// Where traces go; nowhere, unless an endpoint is named.
    pub(crate) traces: Option<Endpoint>,
    /// Where metrics go; nowhere, unless an endpoint is named.
    pub(crate) metrics: Option<Endpoint>,
    /// Which traces are recorded.
    pub(crate) sampling: Sampling,
    /// Between two exports of metrics.
    pub(crate) metric_interval: Duration,
    /// What all that is exported is said of, in addition to what the process knows of itself.
    pub(crate) resource: BTreeMap<String, String>,
}

/// Where a signal goes, and how.
#[derive(Clone, PartialEq)]
pub(crate) struct Endpoint {
    pub(crate) uri: Uri,
    pub(crate) protocol: Protocol,
    /// They may hold a token: never printed.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) timeout: Duration,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { uri, protocol, headers, timeout } = self;
        write!(out, "{uri} by {protocol:?} with {} headers in {timeout:?}", headers.len())
    }
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    HttpProtobuf,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Sampling {
    Always,
    Never,
    Ratio(f64),
    /// As whoever asks does; else as it says.
    OfParent(Root),
}

/// What is recorded of traces that begin here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Root {
    Always,
    Never,
    Ratio(f64),
}

/// One of the two kinds of telemetry.
#[derive(Debug, Clone, Copy)]
struct Signal {
    /// In the variables' names.
    name: &'static str,
    /// Of the endpoint for all signals, where OTLP is spoken over HTTP.
    path: &'static str,
}

const TRACES: Signal = Signal { name: "TRACES", path: "v1/traces" };
const METRICS: Signal = Signal { name: "METRICS", path: "v1/metrics" };

/// Reads variables, and keeps what is wrong with them.
struct Variables {
    all: BTreeMap<String, String>,
    complaints: Vec<String>,
}

/// What the `OTEL_…` variables of `environment` ask for, and what is wrong with them; no plan
/// where nothing is to be exported.
pub(crate) fn plan(
    environment: impl Iterator<Item = (String, String)>,
) -> (Option<Plan>, Vec<String>) {
    let all = environment.filter(|(name, _)| name.starts_with("OTEL_")).collect();
    let mut variables = Variables { all, complaints: Vec::new() };
    if variables.text("OTEL_SDK_DISABLED").is_some_and(|word| word.eq_ignore_ascii_case("true")) {
        return (None, Vec::new());
    }
    let (traces, metrics) = (variables.endpoint(TRACES), variables.endpoint(METRICS));
    if traces.is_none() && metrics.is_none() {
        return (None, variables.complaints);
    }
    let plan = Plan {
        traces,
        metrics,
        sampling: variables.sampling(),
        metric_interval: variables.millis("OTEL_METRIC_EXPORT_INTERVAL", METRIC_INTERVAL),
        resource: variables.resource(),
    };
    (Some(plan), variables.complaints)
}

impl Variables {
    /// An empty variable counts as none.
    fn text(&self, name: &str) -> Option<String> {
        self.all.get(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// What a variable says, for a signal or for all.
    fn of_signal(&self, signal: Signal, what: &str) -> Option<(String, String)> {
        let names = [
            format!("OTEL_EXPORTER_OTLP_{}_{what}", signal.name),
            format!("OTEL_EXPORTER_OTLP_{what}"),
        ];
        names.into_iter().find_map(|name| Some((name.clone(), self.text(&name)?)))
    }

    fn complain(&mut self, name: &str, why: &str) {
        // Never the value: it may be a token.
        self.complaints.push(format!("{name} {why}"));
    }

    fn read<T: FromStr>(&mut self, name: &str, text: &str, wrong: &str) -> Option<T> {
        let read = text.parse().ok();
        if read.is_none() {
            self.complain(name, wrong);
        }
        read
    }

    fn millis(&mut self, name: &str, usual: Duration) -> Duration {
        let Some(text) = self.text(name) else { return usual };
        let read = self.read(name, &text, "is not a number of milliseconds");
        match read {
            Some(0) => {
                self.complain(name, "is nought");
                usual
            }
            Some(millis) => Duration::from_millis(millis),
            None => usual,
        }
    }

    fn endpoint(&mut self, signal: Signal) -> Option<Endpoint> {
        let exporter = self.text(&format!("OTEL_{}_EXPORTER", signal.name));
        if exporter.is_some_and(|exporter| exporter == "none") {
            return None;
        }
        let protocol = self.protocol(signal)?;
        let uri = self.uri(signal, protocol)?;
        let headers = self.headers(signal);
        let timeout = match self.of_signal(signal, "TIMEOUT") {
            Some((name, _)) => self.millis(&name, TIMEOUT),
            None => TIMEOUT,
        };
        Some(Endpoint { uri, protocol, headers, timeout })
    }

    fn protocol(&mut self, signal: Signal) -> Option<Protocol> {
        match self.of_signal(signal, "PROTOCOL") {
            None => Some(Protocol::HttpProtobuf),
            Some((_, text)) if text == "http/protobuf" => Some(Protocol::HttpProtobuf),
            Some((_, text)) if text == "grpc" => Some(Protocol::Grpc),
            Some((name, _)) => {
                self.complain(&name, "is neither grpc nor http/protobuf: nothing is exported");
                None
            }
        }
    }

    /// Of the endpoint for all signals, each has a path of its own below it over HTTP; an
    /// endpoint for one signal is taken as it is.
    fn uri(&mut self, signal: Signal, protocol: Protocol) -> Option<Uri> {
        let (name, text) = self.of_signal(signal, "ENDPOINT")?;
        let is_for_all = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
        let text = if is_for_all && protocol == Protocol::HttpProtobuf {
            format!("{}/{}", text.trim_end_matches('/'), signal.path)
        } else {
            text
        };
        let uri: Option<Uri> = text.parse().ok();
        let uri = uri.filter(|uri| {
            uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https"))
        });
        if uri.is_none() {
            self.complain(&name, "is not an http or https address: nothing is exported");
        }
        uri
    }

    fn headers(&mut self, signal: Signal) -> Vec<(HeaderName, HeaderValue)> {
        let Some((name, text)) = self.of_signal(signal, "HEADERS") else { return Vec::new() };
        let header = |(key, value): (String, String)| {
            let mut value = HeaderValue::from_str(&value).ok()?;
            value.set_sensitive(true);
            Some((key.to_ascii_lowercase().parse().ok()?, value))
        };
        let pairs = pairs(&text);
        let all: Option<Vec<_>> = pairs.and_then(|pairs| pairs.into_iter().map(header).collect());
        all.unwrap_or_else(|| {
            self.complain(&name, "is not a list of headers (`name=value,…`)");
            Vec::new()
        })
    }

    fn resource(&mut self) -> BTreeMap<String, String> {
        let mut resource = BTreeMap::new();
        if let Some(text) = self.text("OTEL_RESOURCE_ATTRIBUTES") {
            match pairs(&text) {
                Some(pairs) => resource.extend(pairs),
                None => {
                    let wrong = "is not a list of attributes (`name=value,…`)";
                    self.complain("OTEL_RESOURCE_ATTRIBUTES", wrong);
                }
            }
        }
        if let Some(service) = self.text("OTEL_SERVICE_NAME") {
            resource.insert("service.name".to_owned(), service);
        }
        resource
    }

    fn sampling(&mut self) -> Sampling {
        let usual = Sampling::OfParent(Root::Always);
        let Some(text) = self.text("OTEL_TRACES_SAMPLER") else { return usual };
        match text.as_str() {
            "always_on" => Sampling::Always,
            "always_off" => Sampling::Never,
            "traceidratio" => Sampling::Ratio(self.ratio()),
            "parentbased_always_on" => usual,
            "parentbased_always_off" => Sampling::OfParent(Root::Never),
            "parentbased_traceidratio" => Sampling::OfParent(Root::Ratio(self.ratio())),
            _ => {
                self.complain("OTEL_TRACES_SAMPLER", "is none of the samplers that are known");
                usual
            }
        }
    }

    fn ratio(&mut self) -> f64 {
        let name = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.text(name) else { return 1.0 };
        let wrong = "is not a part of 1";
        match self.read::<f64>(name, &text, wrong) {
            Some(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            Some(_) => {
                self.complain(name, wrong);
                1.0
            }
            None => 1.0,
        }
    }
}

/// `name=value,name=value`, with `%` before bytes in hexadecimal.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let name = decoded(name.trim())?;
        (!name.is_empty()).then_some((name, decoded(value.trim())?))
    };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let all: Vec<_> = parts.map(pair).collect::<Option<_>>()?;
    (all.len() <= PAIRS_MAX).then_some(all)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let [byte] = defs_core::ids::unhex(std::str::from_utf8(digits).ok()?)?;
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(variables: &[(&str, &str)]) -> (Option<Plan>, Vec<String>) {
        plan(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    /// The plan of variables with which nothing is wrong.
    fn good(variables: &[(&str, &str)]) -> Plan {
        let (plan, complaints) = planned(variables);
        assert_eq!(complaints, Vec::<String>::new());
        plan.unwrap()
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[test]
    fn without_an_endpoint_nothing_is_exported() {
        assert_eq!(planned(&[]), (None, vec![]));
        let others = [("OTEL_TRACES_SAMPLER", "always_on"), ("PATH", "/bin")];
        assert_eq!(planned(&others), (None, vec![]));
        assert_eq!(planned(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]), (None, vec![]));
        assert_eq!(planned(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")]), (None, vec![]));
    }

    #[test]
    fn one_endpoint_serves_both_signals_each_below_a_path_of_its_own() {
        let plan = good(&[ENDPOINT]);
        let traces = plan.traces.unwrap();
        assert_eq!(traces.uri, "http://collector:4318/v1/traces");
        assert_eq!((traces.protocol, traces.timeout), (Protocol::HttpProtobuf, TIMEOUT));
        assert_eq!(plan.metrics.unwrap().uri, "http://collector:4318/v1/metrics");
        assert_eq!(plan.sampling, Sampling::OfParent(Root::Always));
        assert_eq!(plan.metric_interval, METRIC_INTERVAL);
        let grpc = good(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).traces.unwrap();
        assert_eq!((grpc.uri.path(), grpc.protocol), ("/", Protocol::Grpc));
    }

    #[test]
    fn what_is_said_of_one_signal_wins_over_what_is_said_of_all() {
        let plan = good(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces/as/it/is"),
            ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "500"),
        ]);
        let (traces, metrics) = (plan.traces.unwrap(), plan.metrics.unwrap());
        assert_eq!(traces.uri, "https://traces/as/it/is");
        assert_eq!(traces.timeout, Duration::from_millis(250));
        assert_eq!((metrics.uri.path(), metrics.protocol), ("/", Protocol::Grpc));
        assert_eq!(metrics.timeout, Duration::from_millis(500));
        let alone = good(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m")]);
        assert!(alone.traces.is_none() && alone.metrics.is_some());
        let none = good(&[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")]);
        assert!(none.traces.is_some() && none.metrics.is_none());
    }

    #[test]
    fn samplers_and_the_interval_are_those_of_the_standard() {
        let with = |sampler: &str, ratio: &str| {
            let set = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
            good(&[&[ENDPOINT], &set[..]].concat()).sampling
        };
        assert_eq!(with("always_on", ""), Sampling::Always);
        assert_eq!(with("always_off", ""), Sampling::Never);
        assert_eq!(with("traceidratio", "0.25"), Sampling::Ratio(0.25));
        assert_eq!(with("parentbased_always_on", ""), Sampling::OfParent(Root::Always));
        assert_eq!(with("parentbased_always_off", ""), Sampling::OfParent(Root::Never));
        let ratio = with("parentbased_traceidratio", "1");
        assert_eq!(ratio, Sampling::OfParent(Root::Ratio(1.0)));
        let plan = good(&[ENDPOINT, ("OTEL_METRIC_EXPORT_INTERVAL", "1500")]);
        assert_eq!(plan.metric_interval, Duration::from_millis(1500));
    }

    #[test]
    fn resource_and_headers_are_lists_of_pairs() {
        let plan = good(&[
            ENDPOINT,
            ("OTEL_RESOURCE_ATTRIBUTES", "k8s.pod.name=defs-0,service.name=x, note=a%2Cb%20c"),
            ("OTEL_SERVICE_NAME", "storage"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Bearer%20abc, x-y=1"),
        ]);
        let resource = [("k8s.pod.name", "defs-0"), ("note", "a,b c"), ("service.name", "storage")];
        let resource = resource.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(plan.resource, BTreeMap::from(resource));
        let traces = plan.traces.unwrap();
        let headers: Vec<_> =
            traces.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("authorization", &b"Bearer abc"[..]), ("x-y", b"1")]);
        assert!(!format!("{traces:?}").contains("abc"), "a header may be a secret");
    }

    #[test]
    fn what_makes_no_sense_is_told_by_its_name_without_its_value_and_passed_over() {
        for (name, value, is_off) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json-secret", true),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon-secret", false),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", false),
            ("OTEL_EXPORTER_OTLP_HEADERS", "no-pair-secret", false),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a b=secret", false),
            ("OTEL_RESOURCE_ATTRIBUTES", "%zz=secret", false),
            ("OTEL_TRACES_SAMPLER", "secret", false),
            ("OTEL_METRIC_EXPORT_INTERVAL", "-1", false),
        ] {
            let (plan, complaints) = planned(&[ENDPOINT, (name, value)]);
            assert!(!complaints.is_empty(), "{name}={value}");
            assert!(complaints.iter().all(|it| it.starts_with(name) && !it.contains("secret")));
            assert_eq!(plan.is_none(), is_off, "{name}={value}");
        }
        for address in ["collector:4318", "ftp://collector", "http://", "not an address"] {
            let (plan, complaints) = planned(&[("OTEL_EXPORTER_OTLP_ENDPOINT", address)]);
            assert_eq!((plan, complaints.len()), (None, 2), "{address}");
        }
        let set = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "1.5")];
        let (plan, complaints) = planned(&[&[ENDPOINT], &set[..]].concat());
        assert_eq!(plan.unwrap().sampling, Sampling::Ratio(1.0));
        assert_eq!(complaints, ["OTEL_TRACES_SAMPLER_ARG is not a part of 1"]);
    }
}
