//! The calling side: a typed client that mirrors the handlers.

use super::{duration, outcome};
use crate::model::{Handler, Service};
use proc_macro2::{Literal, TokenStream};
use quote::quote;

pub(super) fn client(service: &Service) -> TokenStream {
    let (client_type, client) = (client_type(service), service.client());
    let constants = service.handlers.iter().map(|handler| method_constant(service, handler));
    let calls = service.handlers.iter().map(|handler| call(service, handler));
    let attaches = service.handlers.iter().map(|handler| attach(service, handler));
    quote! {
        #client_type

        #[allow(dead_code, deprecated, private_interfaces)]
        impl #client {
            #(#constants)*
            #(#calls)*
            #(#attaches)*
        }
    }
}

/// The struct and what all clients have.
pub(crate) fn client_type(service: &Service) -> TokenStream {
    let (client, visibility) = (service.client(), service.client_visibility());
    let name = service.name();
    let docs = format!(" A client of the service `{}`.", service.name());
    let connect_docs = format!(" Connects to NATS, for calls of the service `{}`.", service.name());
    quote! {
        #[doc = #docs]
        #[derive(Clone, Debug)]
        #[allow(dead_code, unreachable_pub)]
        #visibility struct #client {
            client: ::requite::Client,
        }

        #[allow(dead_code, unreachable_pub)]
        impl #client {
            #[doc = #connect_docs]
            ///
            /// # Errors
            ///
            /// When no server answers at `url`, or it refuses the connection.
            pub async fn connect(url: &str) -> ::core::result::Result<Self, ::requite::ConnectError> {
                ::requite::Client::connect(url).await.map(Self::new)
            }

            /// Calls through a connection that exists.
            #[must_use]
            pub fn new(client: ::requite::Client) -> Self {
                Self { client }
            }

            /// Cancels a call by its id; see `Accepted::cancel`.
            ///
            /// # Errors
            ///
            /// When it could not be stored that the call is cancelled.
            pub async fn cancel(
                &self,
                id: &::requite::RequestId,
            ) -> ::core::result::Result<::requite::CancelAnswer, ::requite::CancelError> {
                ::requite::__private::cancel(&self.client, #name, id).await
            }

            /// The connection.
            #[must_use]
            pub fn client(&self) -> &::requite::Client {
                &self.client
            }
        }
    }
}

/// The method's description, shared by both sides. Options that were not given keep the defaults of
/// `Method::new`.
fn method_constant(service: &Service, handler: &Handler) -> TokenStream {
    let (constant, cfgs) = (handler.constant(), handler.cfgs());
    let (service, name) = (service.name(), handler.name());
    let defaults = quote!(::requite::__private::Method::new(#service, #name));
    let fields = given_fields(handler);
    let value = match fields.is_empty() {
        true => defaults,
        false => quote!(::requite::__private::Method { #(#fields,)* ..#defaults }),
    };
    quote! {
        #(#cfgs)*
        const #constant: ::requite::__private::Method = #value;
    }
}

fn given_fields(handler: &Handler) -> Vec<TokenStream> {
    let (options, description) = (&handler.options, handler.description());
    let mut fields = Vec::new();
    if !description.is_empty() {
        fields.push(quote!(description: #description));
    }
    if let Some(lease) = &options.lease {
        let lease = duration(lease.value);
        fields.push(quote!(lease: #lease));
    }
    if let Some(max_run) = &options.max_run {
        let max_run = duration(max_run.value);
        fields.push(quote!(max_run: #max_run));
    }
    if let Some(kill_after) = &options.kill_after {
        let kill_after = duration(kill_after.value);
        fields.push(quote!(kill_after: #kill_after));
    }
    if let Some(attempts) = &options.attempts {
        let attempts = Literal::u64_unsuffixed(attempts.value);
        fields.push(quote!(attempts: #attempts));
    }
    if let Some(concurrency) = &options.concurrency {
        let concurrency = Literal::u64_unsuffixed(concurrency.value);
        fields.push(quote!(concurrency: #concurrency));
    }
    if let Some(once) = &options.once {
        let once = once.value;
        fields.push(quote!(once: #once));
    }
    if let Some(fenced) = &options.fenced {
        let fenced = fenced.value;
        fields.push(quote!(fenced: #fenced));
    }
    if let Some(retention) = &options.retention {
        let retention = duration(retention.value);
        fields.push(quote!(retention: ::core::option::Option::Some(#retention)));
    }
    fields.extend(fields_of_streams(handler));
    fields
}

fn fields_of_streams(handler: &Handler) -> Vec<TokenStream> {
    let mut fields = Vec::new();
    if handler.up().is_some() {
        fields.push(quote!(up: true));
    }
    if handler.down().is_some() {
        fields.push(quote!(down: true));
    }
    if let Some(volatile) = &handler.options.volatile {
        let volatile = volatile.value;
        fields.push(quote!(volatile: #volatile));
    }
    if let Some(idle) = &handler.options.idle {
        let idle = duration(idle.value);
        fields.push(quote!(idle: #idle));
    }
    fields
}

fn call(service: &Service, handler: &Handler) -> TokenStream {
    let (function, constant, outcome) = (handler.ident(), handler.constant(), outcome(handler));
    let attributes = handler.attributes(&["cfg", "deprecated", "doc"]);
    let default_docs = handler.description().is_empty().then(|| {
        let docs = format!(" Calls `{}` of the service `{}`.", handler.name(), service.name());
        quote!(#[doc = #docs])
    });
    let (argument, sent) = match handler.request() {
        Some(request) => {
            let (name, ty) = (handler.request_name(), &request.ty);
            (quote!(, #name: #ty), quote!(&#name))
        }
        None => (quote!(), quote!(&())),
    };
    quote! {
        #default_docs
        #(#attributes)*
        pub fn #function(&self #argument) -> ::requite::Call<#outcome> {
            ::requite::__private::call(&self.client, Self::#constant, #sent)
        }
    }
}

fn attach(service: &Service, handler: &Handler) -> TokenStream {
    let (attach, constant, outcome) = (handler.attach(), handler.constant(), outcome(handler));
    let attributes = handler.attributes(&["cfg", "deprecated"]);
    let docs = format!(
        " Finds the call of `{}.{}` that was made under `key`: after a crash, or in another process.",
        service.name(),
        handler.name()
    );
    quote! {
        #[doc = #docs]
        #(#attributes)*
        pub fn #attach(&self, key: impl ::core::convert::AsRef<str>) -> ::requite::Attach<#outcome> {
            ::requite::__private::attach(&self.client, Self::#constant, key.as_ref())
        }
    }
}
