//! One metric per value of a label, all made at the start: adding to one looks nothing up.

use std::ops::Index;

use prometheus::Registry;

use crate::{
    declare::{Declaration, Metric},
    labels::Label,
};

/// The metrics of one name, by a label's value: `metrics.reads[level][outcome]`.
#[derive(Clone, Debug)]
pub struct Family<L, M> {
    children: Box<[M]>,
    label: std::marker::PhantomData<L>,
}

impl<L: Label, M> Index<L> for Family<L, M> {
    type Output = M;

    fn index(&self, value: L) -> &M {
        &self.children[value.index()]
    }
}

impl<L: Label, M: Metric> Metric for Family<L, M> {
    const TYPE: &'static str = M::TYPE;

    fn create(declaration: &Declaration, labels: &[(&'static str, &'static str)], registry: &Registry) -> Self {
        let child = |value: &L| {
            let labels = [labels, &[(L::NAME, value.text())]].concat();
            M::create(declaration, &labels, registry)
        };
        Self {
            children: L::ALL.iter().map(child).collect(),
            label: std::marker::PhantomData,
        }
    }

    fn labels() -> Vec<(&'static str, Vec<&'static str>)> {
        let mut labels = vec![(L::NAME, L::ALL.iter().map(|value| value.text()).collect())];
        labels.extend(M::labels());
        labels
    }
}
