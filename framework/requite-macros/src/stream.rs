//! The types that make a stream in a signature: `Items<T>`, `Sink<T>` and `impl Stream<Item = T>`. A macro
//! sees names only, so they are known by the last segment of their path, as `Context` is.

use crate::model::{bare, last_segment};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{GenericArgument, Path, PathArguments, Token, Type, TypeImplTrait, TypeParamBound};

/// The `T` of `Items<T>` or `Sink<T>`, borrowed or not.
pub(crate) fn taken_item(ty: &Type) -> Option<&Type> {
    let PathArguments::AngleBracketed(arguments) = &last_segment(bare(ty))?.arguments else { return None };
    match arguments.args.iter().collect::<Vec<_>>()[..] {
        [GenericArgument::Type(item)] => Some(item),
        _ => None,
    }
}

/// The type itself, if it is `impl Stream<…>`.
pub(crate) fn returned(ty: &Type) -> Option<&TypeImplTrait> {
    match ty {
        Type::ImplTrait(implements) => stream_bound(&implements.bounds).map(|_| implements),
        Type::Paren(inner) => returned(&inner.elem),
        Type::Group(inner) => returned(&inner.elem),
        _ => None,
    }
}

/// The `T` of `impl Stream<Item = T>`.
pub(crate) fn returned_item(stream: &TypeImplTrait) -> Option<&Type> {
    let bound = stream_bound(&stream.bounds)?.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &bound.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(named) if named.ident == "Item" => Some(&named.ty),
        _ => None,
    })
}

/// Whether there is a stream in the type, however deep.
pub(crate) fn is_within(ty: &Type) -> bool {
    let mut streams = Streams { found: false };
    streams.visit_type(ty);
    streams.found
}

/// Whether the type is a stream. A type of the user's may be called `Items` too; ours have an argument.
pub(crate) fn is_stream(ty: &Type) -> bool {
    match ty {
        Type::ImplTrait(implements) => stream_bound(&implements.bounds).is_some(),
        Type::TraitObject(object) => stream_bound(&object.bounds).is_some(),
        Type::Path(_) => last_segment(ty).is_some_and(|segment| {
            (segment.ident == "Items" || segment.ident == "Sink") && !segment.arguments.is_empty()
        }),
        _ => false,
    }
}

fn stream_bound(bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<&Path> {
    bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => {
            let is_stream = bound.path.segments.last()?.ident == "Stream";
            is_stream.then_some(&bound.path)
        }
        _ => None,
    })
}

struct Streams {
    found: bool,
}

impl<'ast> Visit<'ast> for Streams {
    fn visit_type(&mut self, ty: &'ast Type) {
        self.found |= is_stream(ty);
        visit::visit_type(self, ty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    #[test]
    fn streams_are_known_by_their_last_segment_however_deep() {
        let streams: [Type; 7] = [
            parse_quote!(Items<u64>),
            parse_quote!(requite::Sink<u64>),
            parse_quote!(&mut Sink<u64>),
            parse_quote!(Result<impl Stream<Item = u64>, Failed>),
            parse_quote!(Pin<Box<dyn futures_util::Stream<Item = u64> + Send>>),
            parse_quote!((u64, Option<Items<u64>>)),
            parse_quote!(impl Send + Stream),
        ];
        for ty in &streams {
            assert!(is_within(ty), "{ty:?} was taken for none");
        }
        let others: [Type; 4] = [
            parse_quote!(Vec<Items>),
            parse_quote!(sink::Order),
            parse_quote!(impl Future<Output = u64>),
            parse_quote!(Stream),
        ];
        for ty in &others {
            assert!(!is_within(ty), "{ty:?} was taken for one");
        }
    }

    #[test]
    fn items_have_exactly_one_type() {
        assert_eq!(taken_item(&parse_quote!(&requite::Items<Order>)), Some(&parse_quote!(Order)));
        let others: [Type; 4] =
            [parse_quote!(Items), parse_quote!(Items), parse_quote!(Items<'a>), parse_quote!(Items<A, B>)];
        for ty in &others {
            assert_eq!(taken_item(ty), None);
        }
    }

    #[test]
    fn items_of_a_returned_stream_are_named() {
        let item = |ty: Type| returned(&ty).and_then(returned_item).cloned();
        assert_eq!(item(parse_quote!(impl Send + s::Stream<Item = u64> + '_)), Some(parse_quote!(u64)));
        assert_eq!(item(parse_quote!((impl Stream<Item = Vec<u8>>))), Some(parse_quote!(Vec<u8>)));
        assert_eq!(item(parse_quote!(impl Stream)), None);
        assert_eq!(item(parse_quote!(impl Stream<Item: Send>)), None);
        assert_eq!(item(parse_quote!(impl Iterator<Item = u64>)), None);
    }
}
