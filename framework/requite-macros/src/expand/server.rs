//! The serving side: the service's definition, with one registration per handler.

use crate::model::{Form, Handler, Role, Service};
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{TraitItem, parse_quote};

/// `impl ::requite::Service` for the type of an impl, or for the struct of a function.
pub(super) fn service_impl(service: &Service, self_ty: &impl ToTokens) -> TokenStream {
    let body = definition(service);
    quote! {
        #[automatically_derived]
        impl ::requite::Service for #self_ty {
            #[allow(deprecated, unused_variables)]
            fn definition(self) -> ::requite::ServiceDefinition {
                #body
            }
        }
    }
}

/// The provided method of a trait that does the same for whatever implements it.
pub(super) fn into_service(service: &Service) -> TraitItem {
    let body = definition(service);
    parse_quote! {
        /// What a server runs: every handler of this contract, answered by `self`.
        #[allow(deprecated, unused_variables)]
        fn into_service(self) -> ::requite::ServiceDefinition
        where
            Self: ::core::marker::Sized + ::core::marker::Send + ::core::marker::Sync + 'static,
        {
            #body
        }
    }
}

/// What the handlers share is bound first: a free function may have any name, also one of those that follow.
fn definition(service: &Service) -> TokenStream {
    let shared = match &service.form {
        Form::Impl(_) | Form::Trait(_) => quote!(self),
        Form::Function(item) => item.sig.ident.to_token_stream(),
    };
    let (name, description) = (service.name(), service.description());
    let version = match &service.options.version {
        Some(version) => quote!(#version),
        None => quote!(::core::env!("CARGO_PKG_VERSION")),
    };
    let registrations = service.handlers.iter().map(|handler| registration(service, handler));
    quote! {
        let service = ::std::sync::Arc::new(#shared);
        let definition = ::requite::__private::definition(#name, #version, #description);
        #(#registrations)*
        definition
    }
}

/// A statement and not a link in a chain of calls, because only statements take `#[cfg]`. A method is called
/// by its full path: on an `Arc`, `.clone()` or `.as_ref()` would be the methods of `Arc`.
fn registration(service: &Service, handler: &Handler) -> TokenStream {
    let (client, constant, cfgs) = (service.client(), handler.constant(), handler.cfgs());
    let request = handler.request_type();
    let constructor = match handler.output().error {
        Some(_) => quote!(handler),
        None => quote!(infallible_handler),
    };
    let needs_context = handler.argument(Role::Context).is_some() || handler.mentions_stream();
    let cx = if needs_context { quote!(cx) } else { quote!(_) };
    let input = if handler.request().is_some() { quote!(input) } else { quote!(()) };
    // A future that is not `Send` is reported on the handler's name.
    let span = Span::call_site().located_at(handler.ident().span());
    let run = run(service, handler, span);
    let handler = quote_spanned! {span=>
        ::requite::__private::#constructor(move |#cx: ::requite::Context, #input: #request| {
            let service = ::std::sync::Arc::clone(&service);
            async move { #run }
        })
    };
    quote! {
        #(#cfgs)*
        let definition = definition.method(#client::#constant, {
            let service = ::std::sync::Arc::clone(&service);
            #handler
        });
    }
}

/// What the handler's future does: it opens the streams, and runs the handler or sends what is in its stream.
fn run(service: &Service, handler: &Handler, span: Span) -> TokenStream {
    let function = handler.ident();
    let (callee, lent_service) = match &service.form {
        Form::Impl(_) => (quote_spanned!(span=> Self::#function), Some(quote!(&service))),
        Form::Trait(item) => {
            let contract = &item.ident;
            (quote_spanned!(span=> <Self as #contract>::#function), Some(quote!(&service)))
        }
        Form::Function(_) => (quote_spanned!(span=> service), None),
    };
    let arguments = handler.arguments().map(|argument| match Role::of(&argument.ty) {
        Role::Context => quote!(&cx),
        Role::Request => quote!(input),
        Role::Items => quote!(items),
        Role::Sink => quote!(sink),
    });
    let arguments = lent_service.into_iter().chain(arguments);
    let call = quote_spanned!(span=> #callee(#(#arguments),*));
    let items =
        handler.up().map(|up| quote_spanned!(span=> let items = ::requite::__private::items::<#up>(&cx);));
    let sink = handler
        .argument(Role::Sink)
        .and(handler.down())
        .map(|down| quote_spanned!(span=> let sink = ::requite::__private::sink::<#down>(&cx);));
    let answer = match (handler.returned_stream(), handler.output().error) {
        (None, _) => call,
        (Some(_), Some(_)) => quote_spanned!(span=> ::requite::__private::stream(&cx, #call)),
        (Some(_), None) => quote_spanned!(span=> ::requite::__private::infallible_stream(&cx, #call)),
    };
    quote_spanned!(span=> #items #sink #answer.await)
}
