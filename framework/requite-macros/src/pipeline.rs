//! The stages of `#[service]`, on `proc_macro2` tokens so that tests can run them as well.

use crate::errors::Errors;
use crate::model::Service;
use crate::{check, expand, fallback};
use proc_macro2::TokenStream;

/// `#[service]` on an impl, a trait or a free function.
pub(crate) fn service(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let Some(service) = Service::parse(options, item.clone(), &mut errors) else {
        return fallback::not_a_service(item, errors);
    };
    check::service(&service, &mut errors);
    if errors.is_empty() { expand::service(&service) } else { fallback::service(&service, errors) }
}
