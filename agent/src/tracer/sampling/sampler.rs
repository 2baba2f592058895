//! The sampler, by `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler as SdkSampler, SamplingDecision, ShouldSample};

use super::rule::parse_ratio;

/// What `OTEL_TRACES_SAMPLER` may be.
pub const SUPPORTED_SAMPLERS: &str = "always_on, always_off, traceidratio, parentbased_always_on, \
                                      parentbased_always_off, parentbased_traceidratio";

/// Decides which traces are exported.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// The caller's decision comes first.
    parent_based: bool,
    root: SdkSampler,
}

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
        Sampler { parent_based: true, root: SdkSampler::AlwaysOn }
    }
}

impl Sampler {
    /// The sampler of that name; none or an empty one is the default. `arg` is the ratio, 1 without it, of the two
    /// samplers that have one and is not looked at for the others.
    ///
    /// # Errors
    /// An unknown name, or a bad ratio.
    pub fn new(name: Option<&str>, arg: Option<&str>) -> Result<Self, SamplerError> {
        let name = name.map(|name| name.trim().to_ascii_lowercase()).unwrap_or_default();
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None if name.is_empty() => return Ok(Sampler::default()),
            None => (false, name.as_str()),
        };
        let root = match root {
            "always_on" => SdkSampler::AlwaysOn,
            "always_off" => SdkSampler::AlwaysOff,
            "traceidratio" => match arg.map(str::trim).filter(|arg| !arg.is_empty()) {
                None => SdkSampler::TraceIdRatioBased(1.0),
                Some(arg) => by_ratio(parse_ratio(arg).ok_or_else(|| SamplerError::Ratio(arg.to_owned()))?),
            },
            _ => return Err(SamplerError::Unknown(name)),
        };
        Ok(Sampler { parent_based, root })
    }

    /// Does the caller's decision come first?
    pub(super) fn is_parent_based(&self) -> bool {
        self.parent_based
    }

    /// True if it takes nothing, whatever the caller says.
    pub(super) fn is_never(&self) -> bool {
        !self.parent_based && matches!(self.root, SdkSampler::AlwaysOff)
    }

    /// What it says about a trace of which no caller decided.
    pub(super) fn decide(&self, trace_id: TraceId) -> bool {
        decide(&self.root, trace_id)
    }
}

pub(super) fn by_ratio(ratio: f64) -> SdkSampler {
    SdkSampler::TraceIdRatioBased(ratio)
}

/// None of our samplers looks at anything but the trace id.
pub(super) fn decide(sampler: &SdkSampler, trace_id: TraceId) -> bool {
    let result = sampler.should_sample(None, trace_id, "", &SpanKind::Internal, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sampler_by_its_name() {
        let cases = [
            ("always_on", None, false, true),
            ("always_off", None, false, false),
            ("traceidratio", None, false, true),
            ("traceidratio", Some(" 0 "), false, false),
            ("parentbased_always_on", None, true, true),
            ("ParentBased_Always_Off", None, true, false),
            ("parentbased_traceidratio", Some("0"), true, false),
            ("parentbased_traceidratio", Some("1"), true, true),
            (" ", Some("0"), true, true),
        ];
        for (name, arg, parent_based, sampled) in cases {
            let sampler = Sampler::new(Some(name), arg).unwrap();
            assert_eq!(
                (sampler.is_parent_based(), sampler.decide(TraceId::from(7))),
                (parent_based, sampled),
                "{name}"
            );
        }
    }

    #[test]
    fn the_ratio_is_that_of_the_low_half_of_the_trace_id() {
        let half = Sampler::new(Some("traceidratio"), Some("0.5")).unwrap();
        assert!(half.decide(TraceId::from(u128::from(u64::MAX / 4))));
        assert!(!half.decide(TraceId::from(u128::from(u64::MAX / 4 * 3))));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        for name in ["jaeger_remote", "parentbased_", "parentbased_parentbased_always_on"] {
            let error = Sampler::new(Some(name), None).unwrap_err();
            assert_eq!(error, SamplerError::Unknown(name.to_owned()));
            assert!(error.to_string().contains("parentbased_traceidratio"), "{error}");
        }
        for ratio in ["1.5", "-0.1", "NaN", "half"] {
            let error = Sampler::new(Some("traceidratio"), Some(ratio)).unwrap_err();
            assert_eq!(error, SamplerError::Ratio(ratio.to_owned()));
        }
    }
}
