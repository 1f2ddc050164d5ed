//! Model → tokens, one function per generated item. All paths start with `::requite`; nothing but the client
//! lands in the user's namespace.

mod client;
mod server;
mod types;

pub(crate) use client::client_type;

use crate::model::{Form, Handler, Output, Service};
use proc_macro2::{Literal, TokenStream};
use quote::quote;
use std::time::Duration;
use syn::{ItemTrait, ReturnType, TraitItem, parse_quote};

/// Everything: the assertions on types, first because their errors are the clearest, the user's item, the
/// service and its client.
pub(crate) fn service(service: &Service) -> TokenStream {
    let served = match &service.form {
        Form::Impl(item) => {
            let service = server::service_impl(service, &item.self_ty);
            quote!(#item #service)
        }
        Form::Trait(item) => {
            let mut item = with_send_futures(item, &service.handlers);
            item.items.push(server::into_service(service));
            quote!(#item)
        }
        Form::Function(item) => {
            let service_type = service_type(service);
            let service = server::service_impl(service, &service.ident);
            quote!(#item #service_type #service)
        }
    };
    let client = client::client(service);
    let assertions = service.handlers.iter().map(types::assertions);
    quote!(#(#assertions)* #served #client)
}

/// What stands for a free function where a service is served.
pub(crate) fn service_type(service: &Service) -> TokenStream {
    let (ident, visibility) = (&service.ident, service.client_visibility());
    let docs = format!(" The service `{}`, of one function.", service.name());
    quote! {
        #[doc = #docs]
        #[derive(Clone, Copy, Debug)]
        #[allow(unreachable_pub)]
        #visibility struct #ident;
    }
}

/// `async fn` in a trait makes no promise that its future is `Send`, which a server needs; `impl Future +
/// Send` does, and may still be implemented by an `async fn`. Where a stream is returned, it is the stream
/// that must be `Send`.
pub(crate) fn with_send_futures<'a>(
    item: &ItemTrait,
    handlers: impl IntoIterator<Item = &'a Handler>,
) -> ItemTrait {
    let mut item = item.clone();
    for handler in handlers {
        let Some(TraitItem::Fn(function)) = item.items.get_mut(handler.position) else { continue };
        if let Some(mut stream) = handler.returned_stream().cloned() {
            stream.bounds.push(parse_quote!(::core::marker::Send));
            function.sig.output = parse_quote!(-> #stream);
            continue;
        }
        function.sig.asyncness = None;
        let output = match &function.sig.output {
            ReturnType::Default => parse_quote!(()),
            ReturnType::Type(_, ty) => ty.clone(),
        };
        function.sig.output =
            parse_quote!(-> impl ::core::future::Future<Output = #output> + ::core::marker::Send);
    }
    item
}

/// What stands in `Call<…>` and `Attach<…>`: the reply and the error as callers see them, and the streams.
pub(crate) fn outcome(handler: &Handler) -> TokenStream {
    let Output { reply, error } = handler.output();
    let error = error.unwrap_or_else(|| parse_quote!(::requite::NoError));
    let streams = match (handler.up(), handler.down()) {
        (None, None) => return quote!(#reply, #error),
        (None, Some(down)) => quote!(::requite::ServerStream<#down>),
        (Some(up), None) => quote!(::requite::ClientStream<#up>),
        (Some(up), Some(down)) => quote!(::requite::Bidirectional<#up, #down>),
    };
    quote!(#reply, #error, #streams)
}

pub(crate) fn duration(duration: Duration) -> TokenStream {
    let millis = u64::try_from(duration.as_millis()).expect("checked when the attribute was parsed");
    let millis = Literal::u64_unsuffixed(millis);
    quote!(::core::time::Duration::from_millis(#millis))
}
