//! `#[derive(CallError)]`: which errors of a handler are worth another attempt. The same stages as for a
//! service.

mod check;
mod expand;
mod model;

use crate::errors::Errors;
use model::Input;
use proc_macro2::TokenStream;

pub(crate) fn derive(item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let parsed = syn::parse2(item).map_err(|error| errors.push(error)).ok();
    let Some(input) = parsed.map(|item| Input::new(item, &mut errors)) else {
        return errors.into_tokens();
    };
    check::input(&input, &mut errors);
    if errors.is_empty() { expand::input(&input) } else { expand::fallback(&input, errors) }
}
