//! The rules on the model. Every mistake is reported, on the token that makes it, with what is allowed
//! instead.

mod function;
mod options;
mod signature;
mod stream;

use crate::errors::Errors;
use crate::model::{Form, Handler, Service};
use proc_macro2::Ident;
use std::collections::HashMap;
use syn::visit::Visit;
use syn::{Lifetime, TraitItem};

/// What the macro adds to every client.
const CLIENT_METHODS: [&str; 4] = ["connect", "new", "cancel", "client"];

/// Everything.
pub(crate) fn service(service: &Service, errors: &mut Errors) {
    options::service(service, errors);
    form(service, errors);
    if service.handlers.is_empty() {
        errors.at(&service.ident, "a service without handlers: add #[handler] to at least one `async fn`");
    }
    for handler in &service.handlers {
        options::handler(handler, errors);
        signature::handler(service, handler, errors);
        client_name(service, handler, errors);
    }
    wire_names(service, errors);
}

/// Whether code can be generated for the service at all, apart from its handlers.
pub(crate) fn form_is_sound(service: &Service) -> bool {
    let mut errors = Errors::default();
    form(service, &mut errors);
    errors.is_empty()
}

/// Whether code can be generated for the handler.
pub(crate) fn handler_is_sound(service: &Service, handler: &Handler) -> bool {
    let mut errors = Errors::default();
    signature::handler(service, handler, &mut errors);
    client_name(service, handler, &mut errors);
    errors.is_empty()
}

fn form(service: &Service, errors: &mut Errors) {
    let generics = match &service.form {
        Form::Impl(item) => {
            let mut lifetimes = Lifetimes::default();
            lifetimes.visit_type(&item.self_ty);
            for lifetime in lifetimes.0.into_iter().filter(|_| item.generics.params.is_empty()) {
                errors.at(lifetime, "a service owns what it holds: it lives as long as its server");
            }
            &item.generics
        }
        Form::Trait(item) => {
            for function in item.items.iter().filter_map(provided_name_taken) {
                let rule = "`into_service` is what turns an implementation into a service: use another name";
                errors.at(function, rule);
            }
            &item.generics
        }
        Form::Function(item) => return function::name(service, item, errors),
    };
    if !generics.params.is_empty() {
        let rule = "a service has no generic parameters, because its client must know every type: \
                    write `impl Billing<Postgres>`, or hold a `Box<dyn …>`";
        errors.at(&generics.params, rule);
    }
}

/// The function's name, if it is the one of the method that the macro adds to a trait.
fn provided_name_taken(item: &TraitItem) -> Option<&Ident> {
    match item {
        TraitItem::Fn(function) => Some(&function.sig.ident).filter(|ident| *ident == "into_service"),
        _ => None,
    }
}

/// The lifetimes in a type, `'static` apart.
#[derive(Default)]
struct Lifetimes<'ast>(Vec<&'ast Lifetime>);

impl<'ast> Visit<'ast> for Lifetimes<'ast> {
    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.0.push(lifetime);
        }
    }
}

/// Two handlers under one name. Both may have a `#[cfg]`: then only the compiler knows whether they meet.
fn wire_names(service: &Service, errors: &mut Errors) {
    let mut seen: HashMap<String, &Handler> = HashMap::new();
    for handler in &service.handlers {
        let name = handler.name();
        match seen.get(&name) {
            Some(first) if first.cfgs().is_empty() || handler.cfgs().is_empty() => {
                let rule = format!(
                    "the name `{name}` belongs to the function `{}` already: \
                     give one of them another with #[handler(name = \"…\")]",
                    first.ident()
                );
                match &handler.options.name {
                    Some(given) => errors.at(given, rule),
                    None => errors.at(handler.ident(), rule),
                }
            }
            Some(_) => {}
            None => {
                seen.insert(name, handler);
            }
        }
    }
}

/// A handler whose method on the client would collide with what is generated there.
fn client_name(service: &Service, handler: &Handler, errors: &mut Errors) {
    let ident = handler.ident();
    let owner = if CLIENT_METHODS.iter().any(|method| ident == method) {
        format!("`{}::{ident}`, which every client has", service.client())
    } else if let Some(other) = service.handlers.iter().find(|other| *ident == other.attach()) {
        format!("the client's method that finds a call of `{}`", other.ident())
    } else {
        return;
    };
    let kept = match &handler.options.name {
        Some(_) => String::new(),
        None => format!(", and keep its name on the wire with #[handler(name = \"{}\")]", handler.name()),
    };
    errors.at(ident, format!("`{ident}` is the name of {owner}: rename the function{kept}"));
}
