//! The error type and its `#[retry]` attributes, parsed but not yet judged.

use crate::attr::RetryOptions;
use crate::errors::Errors;
use syn::{Attribute, Data, DeriveInput, Fields, Ident};

pub(super) struct Input {
    pub(super) item: DeriveInput,
    /// The attributes on the type itself.
    pub(super) retries: Vec<Retry>,
    pub(super) variants: Vec<Variant>,
    /// Attributes on fields, where they mean nothing.
    pub(super) stray: Vec<Attribute>,
}

pub(super) struct Variant {
    pub(super) ident: Ident,
    pub(super) retries: Vec<Retry>,
}

pub(super) struct Retry {
    pub(super) original: Attribute,
    pub(super) options: RetryOptions,
}

impl Input {
    pub(super) fn new(item: DeriveInput, errors: &mut Errors) -> Self {
        let retries = parse_retries(&item.attrs, errors);
        let (mut variants, mut stray) = (Vec::new(), Vec::new());
        match &item.data {
            Data::Enum(data) => {
                for variant in &data.variants {
                    let retries = parse_retries(&variant.attrs, errors);
                    variants.push(Variant { ident: variant.ident.clone(), retries });
                    stray.extend(on_fields(&variant.fields));
                }
            }
            Data::Struct(data) => stray.extend(on_fields(&data.fields)),
            Data::Union(_) => {}
        }
        Self { item, retries, variants, stray }
    }
}

fn parse_retries(attrs: &[Attribute], errors: &mut Errors) -> Vec<Retry> {
    let ours = attrs.iter().filter(|attr| attr.path().is_ident("retry"));
    ours.map(|attr| Retry { original: attr.clone(), options: RetryOptions::parse(attr, errors) }).collect()
}

fn on_fields(fields: &Fields) -> impl Iterator<Item = Attribute> {
    let attrs = fields.iter().flat_map(|field| &field.attrs);
    attrs.filter(|attr| attr.path().is_ident("retry")).cloned()
}
