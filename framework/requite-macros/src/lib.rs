//! The macros of `requite`; use them through that crate, which also carries their documentation.
//!
//! Entry points only. `pipeline` shows the way of the tokens: `attr` → `model` → `check` → `expand`, and
//! `fallback` when a check failed.

use proc_macro::TokenStream;

mod attr;
mod call_error;
mod check;
mod errors;
mod expand;
mod fallback;
#[cfg(test)]
mod golden;
mod model;
mod pipeline;
mod stream;

/// See `requite::service`.
#[proc_macro_attribute]
pub fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    pipeline::service(options.into(), item.into()).into()
}

/// See `requite::handler`.
#[proc_macro_attribute]
pub fn handler(_options: TokenStream, item: TokenStream) -> TokenStream {
    fallback::stray_handler(item.into()).into()
}

/// See `requite::CallError`.
#[proc_macro_derive(CallError, attributes(retry))]
pub fn call_error(item: TokenStream) -> TokenStream {
    call_error::derive(item.into()).into()
}
