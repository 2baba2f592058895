//! Did you mean …?

/// The name that was meant.
pub(super) fn nearest<'n>(name: &str, names: &[&'n str]) -> Option<&'n str> {
    let close = names.iter().map(|known| (strsim::jaro_winkler(name, known), *known));
    close.filter(|(similarity, _)| *similarity > 0.8).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, known)| known)
}
