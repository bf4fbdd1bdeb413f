//! What a declaration says about a metric, and how a metric comes out of it.

use prometheus::{Gauge, Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, core::Collector};

/// The prefix of every name.
pub(crate) const PREFIX: &str = "neverstale_";

/// How far an operator may rely on a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Name, unit and labels stay within a major version.
    Stable,
    /// It may change with any version.
    Experimental,
}

/// One line of the table of metrics.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The name without the prefix.
    pub name: &'static str,
    /// What it counts or measures: the doc comment's lines.
    pub help: &'static [&'static str],
    /// Its unit.
    pub unit: &'static str,
    /// How far to rely on it.
    pub stability: Stability,
    /// The upper ends of a histogram's buckets.
    pub buckets: &'static [f64],
}

impl Declaration {
    /// Gives the help as one paragraph.
    pub fn help_text(&self) -> String {
        self.help.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    fn opts(&self, labels: &[(&'static str, &'static str)]) -> Opts {
        let opts = Opts::new(format!("{PREFIX}{}", self.name), self.help_text());
        labels
            .iter()
            .fold(opts, |opts, (name, value)| opts.const_label(*name, *value))
    }
}

/// A metric, or a family of them.
pub trait Metric: Sized {
    /// Prometheus' word for its type.
    const TYPE: &'static str;

    /// Makes and registers it.
    fn create(declaration: &Declaration, labels: &[(&'static str, &'static str)], registry: &Registry) -> Self;

    /// Lists its labels with their values.
    fn labels() -> Vec<(&'static str, Vec<&'static str>)> {
        Vec::new()
    }
}

macro_rules! metric {
    ($type:ident, $word:literal) => {
        impl Metric for $type {
            const TYPE: &'static str = $word;

            fn create(declaration: &Declaration, labels: &[(&'static str, &'static str)], registry: &Registry) -> Self {
                registered($type::with_opts(declaration.opts(labels)), registry)
            }
        }
    };
}

metric!(IntCounter, "counter");
metric!(IntGauge, "gauge");
metric!(Gauge, "gauge");

impl Metric for Histogram {
    const TYPE: &'static str = "histogram";

    fn create(declaration: &Declaration, labels: &[(&'static str, &'static str)], registry: &Registry) -> Self {
        let buckets = declaration.buckets.to_vec();
        let opts = HistogramOpts {
            common_opts: declaration.opts(labels),
            buckets,
        };
        registered(Self::with_opts(opts), registry)
    }
}

fn registered<M: Collector + Clone + 'static>(metric: prometheus::Result<M>, registry: &Registry) -> M {
    let metric = metric.expect("the table of metrics has valid names, which a test proves by making all of them");
    registry
        .register(Box::new(metric.clone()))
        .expect("the table of metrics has each name once, which a test proves");
    metric
}
