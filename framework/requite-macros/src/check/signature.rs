//! The shape of a handler: `async fn name(&self, cx: &Context, request: Request) -> Result<Reply, Error>`.

use crate::errors::Errors;
use crate::model::{Form, Handler, Service, is_context, last_segment, result_arguments};
use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{
    FnArg, Lifetime, PatType, Path, Receiver, ReturnType, Type, TypeImplTrait, TypeParamBound, TypeReference,
};

const NO_STREAMS: &str = "streams are not supported yet: a handler takes at most one request by value \
                          and returns `T` or `Result<T, E>`; send a `Vec<T>`, or pages";

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
        let rule = format!("a handler is a plain `async fn`: remove `{qualifier}`");
        errors.at(qualifier, rule);
    }
    let streams = matches!(&sig.output, ReturnType::Type(_, ty) if stream_token(ty).is_some());
    if sig.asyncness.is_none() && !streams {
        let rule = format!("a handler is async: write `async fn {}`", sig.ident);
        errors.at(sig.fn_token, rule);
    }
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
            let rule = format!("a handler is a method: write `async fn {}(&self, …)`", handler.ident());
            errors.at(handler.ident(), rule);
        }
    }
}

fn arguments(handler: &Handler, errors: &mut Errors) {
    let (mut contexts, mut requests) = (0, 0);
    for (position, argument) in handler.arguments().enumerate() {
        if is_context(&argument.ty) {
            contexts += 1;
            context(argument, position, contexts, errors);
        } else if let Some(token) = stream_token(&argument.ty) {
            errors.at(token, NO_STREAMS);
        } else {
            requests += 1;
            if requests == 2 {
                let rule = "a handler takes one request: put the arguments into one struct";
                errors.at(argument, rule);
            }
            owned(&argument.ty, errors);
        }
    }
}

fn context(argument: &PatType, position: usize, count: usize, errors: &mut Errors) {
    if count > 1 {
        errors.at(argument, "a handler has one context: remove this argument");
        return;
    }
    if position > 0 {
        errors.at(argument, "the context comes before the request: `cx: &Context, request: Request`");
    }
    let borrowed = matches!(&*argument.ty, Type::Reference(reference) if reference.mutability.is_none());
    if !borrowed {
        errors.at(&argument.ty, "the context is borrowed: write `&Context`");
    }
}

fn output(handler: &Handler, errors: &mut Errors) {
    let ReturnType::Type(_, ty) = &handler.sig.output else { return };
    if let Some(token) = stream_token(ty) {
        errors.at(token, NO_STREAMS);
        return;
    }
    match result_arguments(ty) {
        Some(arguments) if arguments.len() != 2 => {
            let rule = "name the error as well: `Result<Reply, Error>`, where `Error` derives `CallError`, \
                        so that callers can tell what happened";
            errors.at(ty, rule);
        }
        // A synchronous function has been told to be async; its `impl Future` goes with that.
        _ if handler.sig.asyncness.is_some() => owned(ty, errors),
        _ => {}
    }
}

/// The tokens that make a type a stream: `impl Stream<…>`, `Items<…>` or `Sink<…>`.
fn stream_token(ty: &Type) -> Option<TokenStream> {
    match ty {
        Type::ImplTrait(implements) => implements.bounds.iter().find_map(|bound| match bound {
            TypeParamBound::Trait(bound) => {
                let is_stream = bound.path.segments.last()?.ident == "Stream";
                is_stream.then(|| implements.to_token_stream())
            }
            _ => None,
        }),
        Type::Path(_) => {
            let segment = last_segment(ty)?;
            let streams = segment.ident == "Items" || segment.ident == "Sink";
            (streams && !segment.arguments.is_empty()).then(|| ty.to_token_stream())
        }
        _ => None,
    }
}

/// Reports what cannot cross the network, or cannot be named on the other side of it.
fn owned(ty: &Type, errors: &mut Errors) {
    Foreign { errors }.visit_type(ty);
}

struct Foreign<'a> {
    errors: &'a mut Errors,
}

impl<'ast> Visit<'ast> for Foreign<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        let rule = "requests and replies are owned, because they cross the network: \
                    `T` instead of `&T`, `String` instead of `&str`, `Vec<T>` instead of `&[T]`";
        self.errors.at(reference, rule);
    }

    fn visit_type_impl_trait(&mut self, implements: &'ast TypeImplTrait) {
        self.errors.at(implements, "the client must know the type: name it instead of `impl Trait`");
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if lifetime.ident != "static" {
            self.errors.at(lifetime, "requests and replies are owned: use a type without a lifetime");
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
