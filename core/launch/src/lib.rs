//! What every binary does first: settings, logging, signals
