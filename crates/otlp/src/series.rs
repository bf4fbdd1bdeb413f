//! All metrics as OTLP has them: counters are cumulative sums since the process began, histograms keep their buckets.
//!
//! Names stay those of docs/METRICS.md, but for `_total`, which OTLP's readers append to sums themselves.

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point,
    },
};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// Converts what a registry has gathered.
pub(crate) fn of(families: &[MetricFamily], began_ns: u64, now_ns: u64) -> Vec<Metric> {
    families
        .iter()
        .filter_map(|family| converted(family, began_ns, now_ns))
        .collect()
}

fn converted(family: &MetricFamily, began_ns: u64, now_ns: u64) -> Option<Metric> {
    let number = |labels: &[LabelPair], value: f64| NumberDataPoint {
        attributes: attributes(labels),
        start_time_unix_nano: began_ns,
        time_unix_nano: now_ns,
        value: Some(number_data_point::Value::AsDouble(value)),
        ..NumberDataPoint::default()
    };
    let temporality = AggregationTemporality::Cumulative.into();
    let metrics = family.get_metric();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: metrics
                .iter()
                .map(|one| number(one.get_label(), one.get_counter().get_value()))
                .collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge {
            data_points: metrics
                .iter()
                .map(|one| number(one.get_label(), one.get_gauge().get_value()))
                .collect(),
        }),
        MetricType::HISTOGRAM => Data::Histogram(Histogram {
            data_points: metrics
                .iter()
                .map(|one| {
                    let histogram = one.get_histogram();
                    let (bounds, counts) = buckets(histogram);
                    HistogramDataPoint {
                        attributes: attributes(one.get_label()),
                        start_time_unix_nano: began_ns,
                        time_unix_nano: now_ns,
                        count: histogram.get_sample_count(),
                        sum: Some(histogram.get_sample_sum()),
                        explicit_bounds: bounds,
                        bucket_counts: counts,
                        ..HistogramDataPoint::default()
                    }
                })
                .collect(),
            aggregation_temporality: temporality,
        }),
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name: family.name().trim_end_matches("_total").to_owned(),
        description: family.help().to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// Prometheus counts what lies at or below each bound, OTLP what lies between two.
fn buckets(histogram: &prometheus::proto::Histogram) -> (Vec<f64>, Vec<u64>) {
    let finite = histogram
        .get_bucket()
        .iter()
        .filter(|bucket| bucket.upper_bound().is_finite());
    let (bounds, cumulative): (Vec<f64>, Vec<u64>) = finite
        .map(|bucket| (bucket.upper_bound(), bucket.cumulative_count()))
        .unzip();
    let ends = cumulative.iter().copied().chain([histogram.get_sample_count()]);
    let begins = [0].into_iter().chain(cumulative.iter().copied());
    // A sample that came while they were read may be in one number and not yet in the other.
    let counts = ends.zip(begins).map(|(end, begin)| end.saturating_sub(begin)).collect();
    (bounds, counts)
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    let attribute = |label: &LabelPair| KeyValue {
        key: label.name().to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(label.value().to_owned())),
        }),
        ..KeyValue::default()
    };
    labels.iter().map(attribute).collect()
}

#[cfg(test)]
mod tests {
    use neverstale_telemetry::{Level, Metrics, ReadOutcome};

    use super::*;

    #[test]
    fn every_metric_is_told_with_its_value() {
        let metrics = Metrics::new("1");
        metrics.reads[Level::FullyConsistent][ReadOutcome::L1].inc_by(3);
        metrics.fence_seconds.observe(0.000_02);
        metrics.fence_seconds.observe(9.0);
        let families = metrics.gather();
        let told = of(&families, 1, 2);
        assert_eq!(told.len(), families.len());
        let named = |name: &str| {
            told.iter()
                .find(|one| one.name == name)
                .and_then(|one| one.data.clone())
        };
        let Some(Data::Sum(reads)) = named("neverstale_reads") else {
            panic!("{told:?}")
        };
        assert!(reads.is_monotonic);
        let three = Some(number_data_point::Value::AsDouble(3.0));
        assert_eq!(reads.data_points.iter().filter(|point| point.value == three).count(), 1);
        let Some(Data::Histogram(fences)) = named("neverstale_fence_seconds") else {
            panic!("{told:?}")
        };
        let point = &fences.data_points[0];
        assert_eq!(
            (point.count, point.bucket_counts.len()),
            (2, point.explicit_bounds.len() + 1)
        );
        assert_eq!((point.bucket_counts[0], *point.bucket_counts.last().unwrap()), (1, 1));
    }
}
