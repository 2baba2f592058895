//! A stream means the same however the transport cuts it.

use proptest::prelude::*;

use super::strategies::{any_capabilities, stream};
use crate::common::laws::splits;

/// Cuts of a stream: lengths that are taken in turn.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![1]), prop::collection::vec(1_usize..40, 1..20), prop::collection::vec(1_usize..6, 1..20)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn at_an_agent(bytes in stream(false), cuts in cuts(), capabilities in any_capabilities(), answers in any::<bool>()) {
        splits::at_an_agent(&bytes, &cuts, capabilities, answers);
    }

    #[test]
    fn at_a_client(bytes in stream(true), cuts in cuts(), capabilities in any_capabilities(), notifies in any::<bool>()) {
        splits::at_a_client(&bytes, &cuts, capabilities, notifies);
    }
}
