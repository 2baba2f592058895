//! The sampler, by `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.

use std::str::FromStr;

use opentelemetry::trace::{SpanContext, SpanKind, TraceContextExt, TraceId};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample};

/// What `OTEL_TRACES_SAMPLER` may be.
pub const SUPPORTED_SAMPLERS: &str = "always_on, always_off, traceidratio, parentbased_always_on, \
                                      parentbased_always_off, parentbased_traceidratio";

/// Decides which traces are exported.
#[derive(Clone, Debug)]
pub struct Sampler(SdkSampler);

/// Why there is no such sampler.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SamplerError {
    /// An unknown name.
    #[error("OTEL_TRACES_SAMPLER: unknown sampler {0:?}; supported are {SUPPORTED_SAMPLERS}")]
    Unknown(String),
    /// A ratio that is not a number from 0 to 1.
    #[error("OTEL_TRACES_SAMPLER_ARG: {0:?} is not a number from 0 to 1")]
    Ratio(String),
}

impl Default for Sampler {
    /// `parentbased_always_on`.
    fn default() -> Self {
        Sampler(SdkSampler::ParentBased(Box::new(SdkSampler::AlwaysOn)))
    }
}

impl Sampler {
    /// The sampler of that name; none or an empty one is the default. `arg` is the ratio, 1 without it, of the two
    /// samplers that have one and is not looked at for the others.
    ///
    /// # Errors
    /// An unknown name, or a bad ratio.
    pub fn new(name: Option<&str>, arg: Option<&str>) -> Result<Self, SamplerError> {
        let ratio = || -> Result<SdkSampler, SamplerError> {
            let Some(arg) = arg.map(str::trim).filter(|arg| !arg.is_empty()) else {
                return Ok(SdkSampler::TraceIdRatioBased(1.0));
            };
            match f64::from_str(arg) {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(SdkSampler::TraceIdRatioBased(ratio)),
                _ => Err(SamplerError::Ratio(arg.to_owned())),
            }
        };
        let parent_based = |root| SdkSampler::ParentBased(Box::new(root));
        Ok(Sampler(match name.map(str::trim).unwrap_or_default() {
            "" | "parentbased_always_on" => parent_based(SdkSampler::AlwaysOn),
            "parentbased_always_off" => parent_based(SdkSampler::AlwaysOff),
            "parentbased_traceidratio" => parent_based(ratio()?),
            "always_on" => SdkSampler::AlwaysOn,
            "always_off" => SdkSampler::AlwaysOff,
            "traceidratio" => ratio()?,
            other => return Err(SamplerError::Unknown(other.to_owned())),
        }))
    }

    /// Is this trace to be exported? `parent` is the caller's span.
    pub(super) fn decide(
        &self,
        parent: Option<&SpanContext>,
        trace_id: TraceId,
        root_name: &str,
        root_kind: &SpanKind,
        root_attributes: &[KeyValue],
    ) -> bool {
        let parent = parent.map(|parent| Context::new().with_remote_span_context(parent.clone()));
        let result = self.0.should_sample(parent.as_ref(), trace_id, root_name, root_kind, root_attributes, &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{SpanId, TraceFlags, TraceState};

    fn decide(name: &str, arg: Option<&str>, parent: Option<TraceFlags>, trace_id: u128) -> bool {
        let trace_id = TraceId::from(trace_id);
        let parent =
            parent.map(|flags| SpanContext::new(trace_id, SpanId::from(1), flags, true, TraceState::default()));
        Sampler::new(Some(name), arg).unwrap().decide(parent.as_ref(), trace_id, "root", &SpanKind::Internal, &[])
    }

    #[test]
    fn each_sampler_decides_as_specified() {
        let (on, off) = (Some(TraceFlags::SAMPLED), Some(TraceFlags::NOT_SAMPLED));
        let cases = [
            ("always_on", None, [true, true, true]),
            ("always_off", None, [false, false, false]),
            ("parentbased_always_on", None, [true, true, false]),
            ("parentbased_always_off", None, [false, true, false]),
            ("", None, [true, true, false]),
            ("traceidratio", None, [true, true, true]),
            ("traceidratio", Some("0"), [false, false, false]),
            ("parentbased_traceidratio", Some("0"), [false, true, false]),
            ("parentbased_traceidratio", Some("1"), [true, true, false]),
        ];
        for (name, arg, expected) in cases {
            let got = [None, on, off].map(|parent| decide(name, arg, parent, 7));
            assert_eq!(got, expected, "{name} {arg:?}");
        }
    }

    #[test]
    fn the_ratio_is_that_of_the_low_half_of_the_trace_id() {
        assert!(decide("traceidratio", Some("0.5"), None, u128::from(u64::MAX / 4)));
        assert!(!decide("traceidratio", Some("0.5"), None, u128::from(u64::MAX / 4 * 3)));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let error = Sampler::new(Some("jaeger_remote"), None).unwrap_err();
        assert_eq!(error, SamplerError::Unknown("jaeger_remote".to_owned()));
        assert!(error.to_string().contains("parentbased_traceidratio"), "{error}");
        for ratio in ["1.5", "-0.1", "NaN", "half"] {
            let error = Sampler::new(Some("traceidratio"), Some(ratio)).unwrap_err();
            assert_eq!(error, SamplerError::Ratio(ratio.to_owned()));
        }
    }
}
