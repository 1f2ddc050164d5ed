//! What `error_struct` in `src/golden.rs` expands to.

#[automatically_derived]
impl ::requite::HandlerError for NotFound {
    fn retry(&self) -> ::requite::Retry {
        ::requite::Retry::Never
    }
}
#[automatically_derived]
impl<T: Clone> ::requite::HandlerError for Busy<T>
where
    T: Send,
{
    fn retry(&self) -> ::requite::Retry {
        ::requite::Retry::After(::core::time::Duration::from_millis(60000))
    }
}
