//! `impl ::requite::HandlerError`.

use super::model::{Input, Retry};
use crate::errors::Errors;
use crate::expand::duration;
use proc_macro2::TokenStream;
use quote::quote;
use syn::Data;

pub(super) fn input(input: &Input) -> TokenStream {
    let body = match input.retries.first() {
        Some(retry) => verdict(retry),
        None => by_variant(input),
    };
    implementation(input, &body)
}

/// The mistakes, and an impl whose verdict nobody will ask for. A union gets none: it cannot be serialized,
/// which the compiler would report as well.
pub(super) fn fallback(input: &Input, errors: Errors) -> TokenStream {
    let is_union = matches!(input.item.data, Data::Union(_));
    let implementation = (!is_union).then(|| implementation(input, &quote!(::core::unreachable!())));
    let errors = errors.into_tokens();
    quote!(#errors #implementation)
}

fn implementation(input: &Input, body: &TokenStream) -> TokenStream {
    let ident = &input.item.ident;
    let (impl_generics, ty_generics, where_clause) = input.item.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        impl #impl_generics ::requite::HandlerError for #ident #ty_generics #where_clause {
            fn retry(&self) -> ::requite::Retry {
                #body
            }
        }
    }
}

fn by_variant(input: &Input) -> TokenStream {
    let arms: Vec<TokenStream> = input
        .variants
        .iter()
        .filter_map(|variant| {
            let (ident, verdict) = (&variant.ident, verdict(variant.retries.first()?));
            Some(quote!(Self::#ident { .. } => #verdict,))
        })
        .collect();
    if arms.is_empty() {
        return quote!(::requite::Retry::Never);
    }
    let last = (arms.len() < input.variants.len()).then(|| quote!(_ => ::requite::Retry::Never,));
    quote!(match self { #(#arms)* #last })
}

fn verdict(retry: &Retry) -> TokenStream {
    match &retry.options.after {
        Some(after) => {
            let after = duration(after.value);
            quote!(::requite::Retry::After(#after))
        }
        None => quote!(::requite::Retry::Default),
    }
}
