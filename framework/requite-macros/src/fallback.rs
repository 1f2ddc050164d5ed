//! What is emitted when a check failed: the mistakes, the user's item, and stubs for what other code relies
//! on, so that the compiler does not add errors about missing names.

use crate::check;
use crate::errors::Errors;
use crate::expand;
use crate::model::{Form, Handler, Service, strip_handler};
use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Attribute, ImplItem, Item, Signature, TraitItem, Visibility, parse_quote};

/// A service with mistakes in it.
pub(crate) fn service(service: &Service, errors: Errors) -> TokenStream {
    let errors = errors.into_tokens();
    let form_is_sound = check::form_is_sound(service);
    let is_sound = |handler: &&Handler| form_is_sound && check::handler_is_sound(service, handler);
    let sound: Vec<&Handler> = service.handlers.iter().filter(is_sound).collect();
    let item = match &service.form {
        Form::Impl(item) => {
            let service_impl = form_is_sound.then(|| service_impl(&item.self_ty));
            quote!(#item #service_impl)
        }
        Form::Trait(item) => {
            let mut item = expand::with_send_futures(item, sound.iter().copied());
            item.attrs.push(parse_quote!(#[allow(async_fn_in_trait)]));
            item.items.extend(form_is_sound.then(into_service));
            quote!(#item)
        }
        Form::Function(item) => {
            let service_type = form_is_sound.then(|| expand::service_type(service));
            let service_impl = form_is_sound.then(|| service_impl(&service.ident));
            quote!(#item #service_type #service_impl)
        }
    };
    let (client, client_type) = (service.client(), expand::client_type(service));
    let calls = sound.into_iter().map(call);
    quote! {
        #errors
        #item
        #client_type
        #[allow(dead_code, private_interfaces, unused_variables)]
        impl #client {
            #(#calls)*
        }
    }
}

fn service_impl(self_ty: &impl ToTokens) -> TokenStream {
    quote! {
        impl ::requite::Service for #self_ty {
            fn definition(self) -> ::requite::ServiceDefinition {
                ::core::unreachable!()
            }
        }
    }
}

fn into_service() -> TraitItem {
    parse_quote! {
        fn into_service(self) -> ::requite::ServiceDefinition
        where
            Self: ::core::marker::Sized,
        {
            ::core::unreachable!()
        }
    }
}

fn call(handler: &Handler) -> TokenStream {
    let (function, attach, cfgs) = (handler.ident(), handler.attach(), handler.cfgs());
    let outcome = expand::outcome(handler);
    let request = handler.request().map(|request| {
        let ty = &request.ty;
        quote!(request: #ty)
    });
    quote! {
        #(#cfgs)*
        pub fn #function(&self, #request) -> ::requite::Call<#outcome> {
            ::core::unreachable!()
        }
        #(#cfgs)*
        pub fn #attach(&self, key: impl ::core::convert::AsRef<str>) -> ::requite::Attach<#outcome> {
            ::core::unreachable!()
        }
    }
}

/// An item that can be no service. Its handlers lose their attribute, which would otherwise be reported too.
pub(crate) fn not_a_service(item: TokenStream, errors: Errors) -> TokenStream {
    let errors = errors.into_tokens();
    let mut parsed = syn::parse2::<Item>(item.clone()).unwrap_or(Item::Verbatim(item));
    match &mut parsed {
        Item::Impl(item) => {
            for item in &mut item.items {
                if let ImplItem::Fn(function) = item {
                    strip_handler(&mut function.attrs);
                }
            }
        }
        Item::Trait(item) => {
            for item in &mut item.items {
                if let TraitItem::Fn(function) = item {
                    strip_handler(&mut function.attrs);
                }
            }
        }
        Item::Fn(function) => {
            strip_handler(&mut function.attrs);
        }
        _ => {}
    }
    quote!(#errors #parsed)
}

/// `#[handler]` that no `#[service]` took away.
pub(crate) fn stray_handler(item: TokenStream) -> TokenStream {
    const RULE: &str = "#[handler] belongs on a function under #[service]: put #[service] on the impl or \
                        trait around a method, above #[handler] on a free function";
    let mut errors = Errors::default();
    match syn::parse2::<Function>(item.clone()) {
        Ok(function) => errors.at(function.0.ident, RULE),
        Err(_) => errors.at(&item, RULE),
    }
    let errors = errors.into_tokens();
    quote!(#errors #item)
}

/// A function wherever it may stand, read up to its body.
struct Function(Signature);

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let signature = input.parse()?;
        input.parse::<TokenStream>()?;
        Ok(Self(signature))
    }
}
