//! Names of metrics and spans, and the registry behind them
