//! What the query of a request asks the server to do.

use std::time::Duration;

use hyper::StatusCode;

/// The answer that a request asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    /// Wait so long before the answer.
    pub(crate) delay: Duration,
    /// Answer with this status.
    pub(crate) status: StatusCode,
    /// Let caches keep the answer for so many seconds.
    pub(crate) cache: Option<u32>,
    /// Close the connection instead of answering.
    pub(crate) close: bool,
}

impl Behaviour {
    /// Reads a query; parameters that mean nothing here are left alone, a value that makes no sense is an error to show to the user.
    pub(crate) fn from_query(query: &str, max_delay: Duration) -> Result<Self, String> {
        let mut wanted = Self { delay: Duration::ZERO, status: StatusCode::OK, cache: None, close: false };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "delay" => {
                    wanted.delay = humantime::parse_duration(&value)
                        .map_err(|error| format!("delay={value}: {error} (write it as 200ms or 1s)"))?;
                    if wanted.delay > max_delay {
                        let max = humantime::format_duration(max_delay);
                        return Err(format!("delay={value}: longer than {max}, see --max-delay"));
                    }
                }
                "status" => {
                    wanted.status = value
                        .parse()
                        .ok()
                        .filter(|status: &StatusCode| (200..600).contains(&status.as_u16()))
                        .ok_or_else(|| format!("status={value}: not a number from 200 to 599"))?;
                }
                "cache" => {
                    let seconds = value.parse().map_err(|_| format!("cache={value}: not a number of seconds"))?;
                    wanted.cache = Some(seconds);
                }
                "close" => wanted.close = true,
                _ => {}
            }
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Behaviour, String> {
        Behaviour::from_query(query, Duration::from_secs(2))
    }

    #[test]
    fn reads_what_it_knows_and_leaves_the_rest() {
        let wanted = parse("x=1&delay=1s%20500ms&status=503&cache=60&close").unwrap();
        assert_eq!(
            wanted,
            Behaviour {
                delay: Duration::from_millis(1500),
                status: StatusCode::SERVICE_UNAVAILABLE,
                cache: Some(60),
                close: true,
            }
        );
        assert_eq!(parse("").unwrap().status, StatusCode::OK);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for query in ["delay=", "delay=200", "delay=3s", "status=", "status=99", "status=199", "status=600", "cache=-1"]
        {
            let error = parse(query).expect_err(query);
            assert!(error.starts_with(query), "{query}: {error}");
        }
    }
}
