//! What makes a configuration from another one.

/// A `const` method for each field that gives the same configuration with another value of it.
macro_rules! builders {
    ($($with:ident => $field:ident: $type:ty),* $(,)?) => {$(
        #[doc = concat!("The same with another [`", stringify!($field), "`](Self::", stringify!($field), ").")]
        #[must_use]
        pub const fn $with(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )*};
}

pub(super) use builders;
