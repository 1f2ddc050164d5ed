//! The name of a free function. A struct is named after it, and must not get into the way of what the user
//! named.

use crate::errors::Errors;
use crate::model::Service;
use proc_macro2::Ident;
use syn::visit::{self, Visit};
use syn::{ItemFn, Path};

pub(super) fn name(service: &Service, function: &ItemFn, errors: &mut Errors) {
    let (name, of_struct) = (&function.sig.ident, &service.ident);
    if name == "main" {
        errors.at(name, "`main` starts the program: put #[service] on another function, and serve that here");
    }
    if name == of_struct {
        let rule = format!(
            "the service is a struct with the function's name in CamelCase, and `{name}` is taken by the \
             function: write its name in snake_case"
        );
        errors.at(name, rule);
    }
    let mut mentions = Mentions { ident: of_struct, found: false };
    mentions.visit_item_fn(function);
    if mentions.found {
        let rule = format!(
            "the service is a struct with the function's name in CamelCase, which would hide the type \
             `{of_struct}`: rename the function"
        );
        errors.at(name, rule);
    }
}

/// Whether a path starts with a name, so that an item of that name would change its meaning.
struct Mentions<'a> {
    ident: &'a Ident,
    found: bool,
}

impl<'ast> Visit<'ast> for Mentions<'_> {
    fn visit_path(&mut self, path: &'ast Path) {
        let first = path.segments.first().filter(|_| path.leading_colon.is_none());
        self.found |= first.is_some_and(|first| first.ident == *self.ident);
        visit::visit_path(self, path);
    }
}
