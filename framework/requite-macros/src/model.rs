//! What the user wrote: a service, its handlers and their options, parsed but not yet judged. Original tokens
//! are kept for the spans of errors.

use crate::attr::{HandlerOptions, ServiceOptions};
use crate::errors::Errors;
use crate::stream;
use proc_macro2::{Ident, Span, TokenStream};
use quote::format_ident;
use syn::ext::IdentExt;
use syn::{
    Attribute, Block, Expr, FnArg, GenericArgument, ImplItem, Item, ItemFn, ItemImpl, ItemTrait, Lit, Meta,
    Pat, PatType, PathArguments, PathSegment, ReturnType, Signature, TraitItem, Type, TypeImplTrait,
    Visibility, parse_quote, parse_str,
};

/// An impl, a trait or a free function under `#[service]`.
pub(crate) struct Service {
    /// The name of the type or trait; of a function, the name of the struct that is made for it.
    pub(crate) ident: Ident,
    pub(crate) options: ServiceOptions,
    pub(crate) form: Form,
    pub(crate) handlers: Vec<Handler>,
}

/// The user's item without our attributes.
pub(crate) enum Form {
    Impl(ItemImpl),
    Trait(ItemTrait),
    Function(ItemFn),
}

/// A function under `#[handler]`.
pub(crate) struct Handler {
    /// Where it is among the items of the impl or trait; a free function is alone.
    pub(crate) position: usize,
    pub(crate) options: HandlerOptions,
    /// The other attributes.
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) sig: Signature,
    pub(crate) body: Option<Block>,
}

/// What an argument is to a handler, in the order in which arguments stand.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Context,
    Request,
    /// The caller's stream.
    Items,
    /// The stream to the caller.
    Sink,
}

/// What a handler ends with, read from its signature; a returned stream ends with `()`.
pub(crate) struct Output {
    pub(crate) reply: Type,
    /// The `E` of a `Result<T, E>`; a handler that cannot fail has none.
    pub(crate) error: Option<Type>,
}

impl Service {
    /// `None` when the item can be no service at all; the reason is in `errors`.
    pub(crate) fn parse(options: TokenStream, item: TokenStream, errors: &mut Errors) -> Option<Self> {
        let options = ServiceOptions::parse(options, errors);
        match syn::parse2(item).map_err(|error| errors.push(error)).ok()? {
            Item::Impl(item) => Self::from_impl(options, item, errors),
            Item::Trait(item) => Some(Self::from_trait(options, item, errors)),
            Item::Fn(item) => Self::from_function(options, item, errors),
            other => {
                const RULE: &str = "#[service] belongs on `impl Type { … }`, on `trait Name { … }` \
                                    or on `async fn name(…) { … }`";
                match item_name(&other) {
                    Some(name) => errors.at(name, RULE),
                    None => errors.at(other, RULE),
                }
                None
            }
        }
    }

    fn from_impl(options: ServiceOptions, mut item: ItemImpl, errors: &mut Errors) -> Option<Self> {
        if let Some((_, path, _)) = &item.trait_ {
            let rule = "a service is `impl Type { … }` without a trait; \
                        to share a contract, put #[service] on the trait itself";
            errors.at(path, rule);
            return None;
        }
        let Some(ident) = last_segment(&item.self_ty).map(|segment| segment.ident.clone()) else {
            errors.at(&item.self_ty, "a service is a struct or an enum: its client is named after it");
            return None;
        };
        let mut handlers = Vec::new();
        for (position, item) in item.items.iter_mut().enumerate() {
            let ImplItem::Fn(function) = item else { continue };
            if let Some(options) = take_options(&mut function.attrs, errors) {
                let (attrs, sig) = (function.attrs.clone(), function.sig.clone());
                handlers.push(Handler { position, options, attrs, sig, body: None });
            }
        }
        Some(Self { ident, options, form: Form::Impl(item), handlers })
    }

    fn from_trait(options: ServiceOptions, mut item: ItemTrait, errors: &mut Errors) -> Self {
        let mut handlers = Vec::new();
        for (position, item) in item.items.iter_mut().enumerate() {
            let TraitItem::Fn(function) = item else { continue };
            if let Some(options) = take_options(&mut function.attrs, errors) {
                let (attrs, sig) = (function.attrs.clone(), function.sig.clone());
                handlers.push(Handler { position, options, attrs, sig, body: function.default.clone() });
            }
        }
        Self { ident: item.ident.clone(), options, form: Form::Trait(item), handlers }
    }

    fn from_function(options: ServiceOptions, mut item: ItemFn, errors: &mut Errors) -> Option<Self> {
        if let Some(receiver) = item.sig.receiver() {
            let rule = "a free function has no `self`: remove it; \
                        for a method, put #[service] on the `impl` around it, and #[handler] here";
            errors.at(receiver, rule);
            return None;
        }
        let name = &item.sig.ident;
        let Ok(mut ident) = parse_str::<Ident>(&camel_case(&name.unraw().to_string())) else {
            let rule = format!(
                "the service is a struct with the function's name in CamelCase, and `{name}` gives none: \
                 rename the function"
            );
            errors.at(name, rule);
            return None;
        };
        ident.set_span(name.span());
        let handler = Handler {
            position: 0,
            options: take_options(&mut item.attrs, errors).unwrap_or_default(),
            attrs: item.attrs.clone(),
            sig: item.sig.clone(),
            body: None,
        };
        Some(Self { ident, options, form: Form::Function(item), handlers: vec![handler] })
    }

    /// The name on the wire.
    pub(crate) fn name(&self) -> String {
        match (&self.options.name, &self.form) {
            (Some(name), _) => name.value.clone(),
            (None, Form::Function(item)) => words(&item.sig.ident.unraw().to_string()).join("-"),
            (None, _) => kebab_case(&self.ident.unraw().to_string()),
        }
    }

    pub(crate) fn description(&self) -> String {
        description(match &self.form {
            Form::Impl(item) => &item.attrs,
            Form::Trait(item) => &item.attrs,
            Form::Function(item) => &item.attrs,
        })
    }

    pub(crate) fn client(&self) -> Ident {
        format_ident!("{}Client", self.ident)
    }

    /// An impl does not tell how visible its type is, so its client is `pub`.
    pub(crate) fn client_visibility(&self) -> Visibility {
        match &self.form {
            Form::Impl(_) => parse_quote!(pub),
            Form::Trait(item) => item.vis.clone(),
            Form::Function(item) => item.vis.clone(),
        }
    }
}

impl Handler {
    pub(crate) fn ident(&self) -> &Ident {
        &self.sig.ident
    }

    /// The name on the wire.
    pub(crate) fn name(&self) -> String {
        match &self.options.name {
            Some(name) => name.value.clone(),
            None => self.ident().unraw().to_string(),
        }
    }

    pub(crate) fn description(&self) -> String {
        description(&self.attrs)
    }

    /// The client's method that finds an earlier call.
    pub(crate) fn attach(&self) -> Ident {
        format_ident!("attach_{}", self.ident().unraw(), span = self.ident().span())
    }

    /// The client's constant that describes the method.
    pub(crate) fn constant(&self) -> Ident {
        let name = self.ident().unraw().to_string().to_uppercase();
        Ident::new(&format!("__{name}"), Span::call_site().located_at(self.ident().span()))
    }

    pub(crate) fn attributes(&self, names: &[&str]) -> impl Iterator<Item = &Attribute> {
        self.attrs.iter().filter(|attr| names.iter().any(|name| attr.path().is_ident(name)))
    }

    pub(crate) fn cfgs(&self) -> Vec<&Attribute> {
        self.attributes(&["cfg"]).collect()
    }

    /// The arguments behind `self`.
    pub(crate) fn arguments(&self) -> impl Iterator<Item = &PatType> {
        self.sig.inputs.iter().filter_map(|argument| match argument {
            FnArg::Typed(argument) => Some(argument),
            FnArg::Receiver(_) => None,
        })
    }

    /// The first argument of this role.
    pub(crate) fn argument(&self, role: Role) -> Option<&PatType> {
        self.arguments().find(|argument| Role::of(&argument.ty) == role)
    }

    pub(crate) fn request(&self) -> Option<&PatType> {
        self.argument(Role::Request)
    }

    /// `()` when there is no request argument.
    pub(crate) fn request_type(&self) -> Type {
        self.request().map_or_else(|| parse_quote!(()), |argument| (*argument.ty).clone())
    }

    /// How the client's method calls its argument: as the handler does, if it has a name there.
    pub(crate) fn request_name(&self) -> Ident {
        match self.request().map(|argument| &*argument.pat) {
            Some(Pat::Ident(name)) if !name.ident.to_string().starts_with('_') => name.ident.clone(),
            _ => format_ident!("request"),
        }
    }

    /// The `impl Stream<…>` of a handler that returns one.
    pub(crate) fn returned_stream(&self) -> Option<&TypeImplTrait> {
        match &self.sig.output {
            ReturnType::Type(_, ty) => stream::returned(ty),
            ReturnType::Default => None,
        }
    }

    /// The items of the caller's stream.
    pub(crate) fn up(&self) -> Option<&Type> {
        stream::taken_item(&self.argument(Role::Items)?.ty)
    }

    /// The items of the stream to the caller, be it taken as a sink or returned.
    pub(crate) fn down(&self) -> Option<&Type> {
        match self.argument(Role::Sink) {
            Some(sink) => stream::taken_item(&sink.ty),
            None => self.returned_stream().and_then(stream::returned_item).map(|item| fallible(item).0),
        }
    }

    /// Whether a stream is anywhere in the signature, also where none may be.
    pub(crate) fn mentions_stream(&self) -> bool {
        let returned = matches!(&self.sig.output, ReturnType::Type(_, ty) if stream::is_within(ty));
        let mut taken = self.arguments().map(|argument| &argument.ty);
        returned || taken.any(|ty| matches!(Role::of(ty), Role::Items | Role::Sink) || stream::is_within(ty))
    }

    pub(crate) fn output(&self) -> Output {
        let unit = parse_quote!(());
        let (reply, error) = match (self.returned_stream(), &self.sig.output) {
            (Some(stream), _) => (&unit, stream::returned_item(stream).and_then(|item| fallible(item).1)),
            (None, ReturnType::Type(_, ty)) => fallible(ty),
            (None, ReturnType::Default) => (&unit, None),
        };
        Output { reply: reply.clone(), error: error.cloned() }
    }
}

impl Role {
    /// By the name of the type, borrowed or not, by whatever path.
    pub(crate) fn of(ty: &Type) -> Self {
        match last_segment(bare(ty)).map(|segment| segment.ident.to_string()).as_deref() {
            Some("Context") => Self::Context,
            Some("Items") => Self::Items,
            Some("Sink") => Self::Sink,
            _ => Self::Request,
        }
    }
}

/// Takes `#[handler]` off a function; `None` when it has none.
fn take_options(attrs: &mut Vec<Attribute>, errors: &mut Errors) -> Option<HandlerOptions> {
    let ours = strip_handler(attrs);
    let (first, rest) = ours.split_first()?;
    for again in rest {
        errors.at(again, "#[handler] is given twice: keep one, with all options");
    }
    Some(HandlerOptions::parse(first, errors))
}

/// Removes and returns our attributes.
pub(crate) fn strip_handler(attrs: &mut Vec<Attribute>) -> Vec<Attribute> {
    attrs
        .extract_if(.., |attr| attr.path().segments.last().is_some_and(|last| last.ident == "handler"))
        .collect()
}

/// The type arguments of `Result<…>`; `None` for any other type.
pub(crate) fn result_arguments(ty: &Type) -> Option<Vec<&Type>> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Result")?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Some(Vec::new()) };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    Some(types.collect())
}

/// The `T` and the `E` of `Result<T, E>`; any other type has no error.
fn fallible(ty: &Type) -> (&Type, Option<&Type>) {
    match result_arguments(ty).as_deref() {
        Some([value, error]) => (value, Some(error)),
        _ => (ty, None),
    }
}

/// The type without what is around it: references, parentheses, the groups of `macro_rules!`.
pub(crate) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Reference(reference) => bare(&reference.elem),
        Type::Paren(inner) => bare(&inner.elem),
        Type::Group(inner) => bare(&inner.elem),
        _ => ty,
    }
}

pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Group(inner) => last_segment(&inner.elem),
        _ => None,
    }
}

fn item_name(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Mod(item) => Some(&item.ident),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}

/// The doc comment as text.
fn description(attrs: &[Attribute]) -> String {
    let lines = attrs.iter().filter_map(|attr| match &attr.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> =
        lines.map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n").trim().to_owned()
}

/// `charge_card` → `ChargeCard`.
fn camel_case(name: &str) -> String {
    let words = name.split('_').map(str::chars);
    words.flat_map(|mut word| word.next().into_iter().flat_map(char::to_uppercase).chain(word)).collect()
}

/// `UserAccounts` → `user-accounts`, `HTTPProxy` → `http-proxy`.
fn kebab_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut kebab = String::new();
    for (i, &letter) in letters.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| letters.get(i)).copied().unwrap_or('_');
        let ends_capitals =
            before.is_uppercase() && letters.get(i + 1).is_some_and(|next| next.is_lowercase());
        let starts_word = before.is_lowercase() || before.is_ascii_digit() || ends_capitals;
        if letter.is_uppercase() && starts_word && before != '_' {
            kebab.push('-');
        }
        kebab.extend(if letter == '_' { '-' } else { letter }.to_lowercase());
    }
    kebab
}

/// The words of a name in snake_case.
fn words(name: &str) -> Vec<&str> {
    name.split('_').filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_that_differ_have_default_names_that_do() {
        for (name, kebab) in [
            ("charge", "charge"),
            ("a_b", "a-b"),
            ("charge_2", "charge-2"),
            ("_oauth2__tokens_", "oauth2-tokens"),
        ] {
            let ident = format_ident!("{name}");
            let mut errors = Errors::default();
            let item = parse_quote! { async fn #ident() {} };
            let service = Service::from_function(ServiceOptions::default(), item, &mut errors);
            assert_eq!(service.expect("a good name").name(), kebab);
        }
    }

    #[test]
    fn default_names_are_kebab_case() {
        for (name, kebab) in [
            ("Billing", "billing"),
            ("UserAccounts", "user-accounts"),
            ("HTTPProxy", "http-proxy"),
            ("Oauth2Tokens", "oauth2-tokens"),
            ("Snake_Case", "snake-case"),
        ] {
            assert_eq!(kebab_case(name), kebab);
        }
    }

    #[test]
    fn structs_of_functions_are_camel_case() {
        for (name, camel) in [
            ("charge", "Charge"),
            ("charge_card", "ChargeCard"),
            ("_oauth2__tokens_", "Oauth2Tokens"),
            ("self_", "Self"),
            ("__", ""),
        ] {
            assert_eq!(camel_case(name), camel);
        }
    }

    #[test]
    fn descriptions_lose_the_space_behind_the_slashes() {
        let item: ItemTrait = parse_quote! {
            /// First.
            ///
            ///   Indented.
            trait T {}
        };
        assert_eq!(description(&item.attrs), "First.\n\n  Indented.");
    }
}
