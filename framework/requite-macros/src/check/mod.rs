//! The rules on the model. Every mistake is reported, on the token that makes it, with what is allowed instead.

mod options;
mod signature;

use crate::errors::Errors;
use crate::model::{Form, Handler, Service};
use std::collections::HashMap;
use syn::visit::{self, Visit};
use syn::{Lifetime, Type};

/// What the macro adds to every client.
const CLIENT_METHODS: [&str; 3] = ["connect", "new", "client"];

/// Everything.
pub(crate) fn service(service: &Service, errors: &mut Errors) {
    options::service(service, errors);
    form(service, errors);
    if service.handlers.is_empty() {
        errors.at(&service.ident, "a service without handlers: add #[handler] to at least one `async fn`");
    }
    for handler in &service.handlers {
        options::handler(handler, errors);
        signature::handler(handler, errors);
    }
    wire_names(service, errors);
    client_names(service, errors);
}

/// Whether code can be generated for the service at all, apart from its handlers.
pub(crate) fn form_is_sound(service: &Service) -> bool {
    let mut errors = Errors::default();
    form(service, &mut errors);
    errors.is_empty()
}

/// Whether code can be generated for the handler.
pub(crate) fn handler_is_sound(handler: &Handler) -> bool {
    let mut errors = Errors::default();
    signature::handler(handler, &mut errors);
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
        Form::Trait(item) => &item.generics,
    };
    if !generics.params.is_empty() {
        let rule = "a service has no generic parameters, because its client must know every type: \
                    write `impl Billing<Postgres>`, or hold a `Box<dyn …>`";
        errors.at(&generics.params, rule);
    }
}

/// The lifetimes in a type, `'static` apart.
#[derive(Default)]
struct Lifetimes<'ast>(Vec<&'ast Lifetime>);

impl<'ast> Visit<'ast> for Lifetimes<'ast> {
    fn visit_type(&mut self, ty: &'ast Type) {
        visit::visit_type(self, ty);
    }

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
                    "`{}` has the name `{name}` already: give one of them another with #[handler(name = \"…\")]",
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

/// Handlers whose methods on the client would collide with what is generated there.
fn client_names(service: &Service, errors: &mut Errors) {
    for handler in &service.handlers {
        let ident = handler.ident();
        let taken_by = if CLIENT_METHODS.iter().any(|method| ident == method) {
            Some(format!("`{}::{ident}`", service.client()))
        } else if matches!(service.form, Form::Trait(_)) && ident == "into_service" {
            Some("the method that turns an implementation into a service".to_owned())
        } else {
            let attached = service.handlers.iter().find(|other| *ident == other.attach());
            attached
                .map(|other| format!("the client's method that attaches to a call of `{}`", other.ident()))
        };
        if let Some(owner) = taken_by {
            let rule = format!(
                "`{ident}` is the name of {owner}: rename the function; callers in other languages still \
                 see it as `{name}` with #[handler(name = \"{name}\")]",
                name = handler.name()
            );
            errors.at(ident, rule);
        }
    }
}
