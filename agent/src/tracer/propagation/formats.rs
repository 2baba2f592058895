//! Which formats are on, by `OTEL_PROPAGATORS`.

/// What `OTEL_PROPAGATORS` may list.
pub const SUPPORTED_PROPAGATORS: &str = "tracecontext, baggage, b3, b3multi, jaeger, none";

/// A format of the trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// `traceparent` and `tracestate` of the W3C.
    TraceContext,
    /// The header `b3` of Zipkin.
    B3,
    /// The headers `X-B3-…` of Zipkin.
    B3Multi,
    /// The header `uber-trace-id` of Jaeger.
    Jaeger,
}

/// The formats that are extracted and injected, by `OTEL_PROPAGATORS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Propagators {
    formats: Vec<Format>,
    baggage: bool,
}

/// A propagator that is not supported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("OTEL_PROPAGATORS: unknown propagator {0:?}; supported are {SUPPORTED_PROPAGATORS}")]
pub struct PropagatorError(String);

impl Default for Propagators {
    /// `tracecontext,baggage`.
    fn default() -> Self {
        Propagators { formats: vec![Format::TraceContext], baggage: true }
    }
}

impl Propagators {
    /// The propagators of a comma-separated list; none or an empty one is the default.
    ///
    /// # Errors
    /// A name that is not supported.
    pub fn new(list: Option<&str>) -> Result<Self, PropagatorError> {
        let Some(list) = list.filter(|list| !list.trim().is_empty()) else { return Ok(Propagators::default()) };
        let mut propagators = Propagators { formats: Vec::new(), baggage: false };
        for name in list.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let format = match &*name {
                "tracecontext" => Format::TraceContext,
                "b3" => Format::B3,
                "b3multi" => Format::B3Multi,
                "jaeger" => Format::Jaeger,
                "baggage" => {
                    propagators.baggage = true;
                    continue;
                }
                "none" | "" => continue,
                _ => return Err(PropagatorError(name)),
            };
            if !propagators.formats.contains(&format) {
                propagators.formats.push(format);
            }
        }
        Ok(propagators)
    }

    /// The formats of the trace context, in the order in which they are tried.
    pub fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// Is `baggage` of the W3C on?
    pub fn baggage(&self) -> bool {
        self.baggage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(list: &str) -> (Vec<Format>, bool) {
        let propagators = Propagators::new(Some(list)).unwrap();
        (propagators.formats().to_vec(), propagators.baggage())
    }

    #[test]
    fn propagators_by_name_in_order_and_once() {
        assert_eq!(Propagators::new(None), Ok(Propagators::default()));
        assert_eq!(of(" "), (vec![Format::TraceContext], true));
        assert_eq!(of("none"), (vec![], false));
        assert_eq!(of("baggage, "), (vec![], true));
        assert_eq!(of("Jaeger,b3 ,baggage,jaeger"), (vec![Format::Jaeger, Format::B3], true));
        assert_eq!(of("b3multi,tracecontext"), (vec![Format::B3Multi, Format::TraceContext], false));
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let error = Propagators::new(Some("tracecontext,xray")).unwrap_err().to_string();
        assert!(error.starts_with("OTEL_PROPAGATORS: unknown propagator \"xray\"; supported are trace"), "{error}");
    }
}
