//! What `error_enum` in `src/golden.rs` expands to.

#[automatically_derived]
impl ::requite::HandlerError for ChargeError {
    fn retry(&self) -> ::requite::Retry {
        match self {
            Self::BankDown { .. } => ::requite::Retry::Default,
            Self::Busy { .. } => {
                ::requite::Retry::After(::core::time::Duration::from_millis(30000))
            }
            _ => ::requite::Retry::Never,
        }
    }
}
