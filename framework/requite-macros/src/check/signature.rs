//! The shape of a handler: `async fn name(&self, cx: &Context, request: Request) -> Result<Reply, Error>`,
//! with streams behind the request or, in a plain `fn`, in place of the result.

use super::stream;
use crate::errors::Errors;
use crate::model::{Form, Handler, Role, Service, result_arguments};
use crate::stream::{is_stream, is_within};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{FnArg, Lifetime, PatType, Path, Receiver, ReturnType, Type, TypeImplTrait, TypeReference};

pub(crate) fn handler(service: &Service, handler: &Handler, errors: &mut Errors) {
    qualifiers(handler, errors);
    generics(handler, errors);
    match service.form {
        Form::Impl(_) | Form::Trait(_) => receiver(handler, errors),
        Form::Function(_) => {} // one with a receiver was no service at all
    }
    arguments(handler, errors);
    output(handler, errors);
    if let Some(body) = &handler.body {
        errors
            .at(body, "a contract has no bodies: end the handler with `;`, and write the body in the `impl`");
    }
}

fn qualifiers(handler: &Handler, errors: &mut Errors) {
    let sig = &handler.sig;
    let qualifiers =
        [sig.constness.to_token_stream(), sig.unsafety.to_token_stream(), sig.abi.to_token_stream()];
    for qualifier in qualifiers.into_iter().filter(|tokens| !tokens.is_empty()) {
        let rule = format!("a handler is a plain `{}`: remove `{qualifier}`", keywords(handler));
        errors.at(qualifier, rule);
    }
    match (&sig.asyncness, &sig.output) {
        (Some(asyncness), _) if handler.returned_stream().is_some() => {
            let rule = "a handler that returns a stream is a plain `fn`: remove `async`, or keep it and send \
                        the items by an argument `sink: Sink<T>`";
            errors.at(asyncness, rule);
        }
        (Some(_), _) => {}
        (None, ReturnType::Type(_, ty)) if is_within(ty) => {} // one in the wrong place is reported there
        (None, _) => {
            errors.at(sig.fn_token, format!("a handler is async: write `async fn {}`", sig.ident));
        }
    }
}

fn keywords(handler: &Handler) -> &'static str {
    if handler.returned_stream().is_some() { "fn" } else { "async fn" }
}

fn generics(handler: &Handler, errors: &mut Errors) {
    let generics = &handler.sig.generics;
    if !generics.params.is_empty() {
        let rule = "a handler is not generic: requests arrive as bytes, so every type must be known; \
                    write one handler per type, or an enum";
        errors.at(&generics.params, rule);
    }
    if let Some(clause) = &generics.where_clause {
        errors.at(clause, "a handler has no `where` clause: every type in its signature is known");
    }
}

fn receiver(handler: &Handler, errors: &mut Errors) {
    match handler.sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) => match receiver {
            Receiver { reference: Some((_, None)), mutability: None, colon_token: None, .. } => {}
            Receiver { mutability: Some(_), reference: Some(_), colon_token: None, .. } => {
                let rule = "a handler takes `&self`, because requests run side by side: \
                            put what changes into a `Mutex` or an atomic";
                errors.at(receiver, rule);
            }
            _ => errors.at(receiver, "a handler takes `&self`: one service answers many requests"),
        },
        _ => {
            let rule =
                format!("a handler is a method: write `{} {}(&self, …)`", keywords(handler), handler.ident());
            errors.at(handler.ident(), rule);
        }
    }
}

fn arguments(handler: &Handler, errors: &mut Errors) {
    let roles: Vec<Role> = handler.arguments().map(|argument| Role::of(&argument.ty)).collect();
    for (position, argument) in handler.arguments().enumerate() {
        let (before, behind) = (&roles[..position], &roles[position + 1..]);
        match roles[position] {
            Role::Context => context(argument, before, errors),
            Role::Request => request(argument, before, errors),
            role => stream::argument(argument, role, before, behind, errors),
        }
    }
    stream::one_to_the_caller(handler, errors);
}

fn context(argument: &PatType, before: &[Role], errors: &mut Errors) {
    if before.contains(&Role::Context) {
        errors.at(argument, "a handler has one context: remove this argument");
        return;
    }
    if before.contains(&Role::Request) {
        errors.at(argument, "the context comes before the request: `cx: &Context, request: Request`");
    }
    let borrowed = matches!(&*argument.ty, Type::Reference(reference) if reference.mutability.is_none());
    if !borrowed {
        errors.at(&argument.ty, "the context is borrowed: write `&Context`");
    }
}

fn request(argument: &PatType, before: &[Role], errors: &mut Errors) {
    if before.iter().filter(|&&role| role == Role::Request).count() == 1 {
        errors.at(argument, "a handler takes one request: put the arguments into one struct");
    }
    owned(&argument.ty, errors);
}

fn output(handler: &Handler, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = &handler.sig.output else { return };
    if let Some(returned) = handler.returned_stream() {
        stream::returned(returned, errors);
        return;
    }
    names_its_error(ty, "Reply", errors);
    // A synchronous function has been told to be async; its `impl Future` goes with that.
    if handler.sig.asyncness.is_some() || is_within(ty) {
        owned(ty, errors);
    }
}

pub(super) fn names_its_error(ty: &Type, value: &str, errors: &mut Errors) {
    if result_arguments(ty).is_some_and(|arguments| arguments.len() != 2) {
        let rule = format!(
            "name the error as well: `Result<{value}, Error>`, where `Error` derives `CallError`, \
             so that callers can tell what happened"
        );
        errors.at(ty, rule);
    }
}

/// Reports what cannot cross the network, or cannot be named on the other side of it.
pub(super) fn owned(ty: &Type, errors: &mut Errors) {
    Foreign { errors }.visit_type(ty);
}

struct Foreign<'a> {
    errors: &'a mut Errors,
}

impl<'ast> Visit<'ast> for Foreign<'_> {
    fn visit_type(&mut self, ty: &'ast Type) {
        if is_stream(ty) {
            self.errors.at(ty, stream::FORMS);
        } else {
            visit::visit_type(self, ty);
        }
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let rule = "requests, replies and items are owned, because they cross the network: \
                    `T` instead of `&T`, `String` instead of `&str`, `Vec<T>` instead of `&[T]`";
        self.errors.at(reference, rule);
    }

    fn visit_type_impl_trait(&mut self, implements: &'ast TypeImplTrait) {
        self.errors.at(implements, "the client must know the type: name it instead of `impl Trait`");
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.errors.at(lifetime, "requests, replies and items are owned: use a type without a lifetime");
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        match path.segments.first() {
            Some(first) if first.ident == "Self" => {
                self.errors.at(path, "`Self` is another type in the client: write out the name");
            }
            _ => visit::visit_path(self, path),
        }
    }
}
