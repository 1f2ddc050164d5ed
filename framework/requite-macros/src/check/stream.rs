//! The rules of streams: where they stand, what their items are, and that there is one each way.

use super::signature::{names_its_error, owned};
use crate::errors::Errors;
use crate::model::{Handler, Role};
use crate::stream::{returned_item, taken_item};
use syn::{PatType, Type, TypeImplTrait};

/// Said of a stream in any other place.
pub(super) const FORMS: &str = "a stream is an argument of its own, `Items<T>` from the caller or `Sink<T>` \
                                to it, or what a plain `fn` returns, `impl Stream<Item = T>` or \
                                `impl Stream<Item = Result<T, E>>`";

/// An argument that is `Items<T>` or `Sink<T>`, with the roles of those around it.
pub(super) fn argument(
    argument: &PatType,
    role: Role,
    before: &[Role],
    behind: &[Role],
    errors: &mut Errors,
) {
    let name = if role == Role::Items { "Items" } else { "Sink" };
    if before.contains(&role) {
        let rule = format!(
            "a handler has one `{name}`: remove this argument; for items of several kinds, use an enum"
        );
        errors.at(argument, rule);
        return;
    }
    if behind.iter().any(|later| *later < role) {
        let rule = "the arguments have an order, in which each may be left out: \
                    `cx: &Context, request: Request, items: Items<T>, sink: Sink<T>`";
        errors.at(argument, rule);
    }
    if let Type::Reference(_) = &*argument.ty {
        errors.at(&argument.ty, format!("a stream is taken by value: write `{name}<T>`"));
    }
    match taken_item(&argument.ty) {
        Some(item) => owned(item, errors),
        None => {
            let rule = format!(
                "name the type of the items: `{name}<T>`; a type of your own needs another name than `{name}`"
            );
            errors.at(&argument.ty, rule);
        }
    }
}

/// The `impl Stream<…>` that a handler returns.
pub(super) fn returned(stream: &TypeImplTrait, errors: &mut Errors) {
    match returned_item(stream) {
        Some(item) => {
            names_its_error(item, "Item", errors);
            owned(item, errors);
        }
        None => {
            let rule = "name the type of the items: `impl Stream<Item = T>`, or \
                        `impl Stream<Item = Result<T, E>>` if the handler can fail";
            errors.at(stream, rule);
        }
    }
}

/// Both a sink and a returned stream.
pub(super) fn one_to_the_caller(handler: &Handler, errors: &mut Errors) {
    if let (Some(sink), Some(_)) = (handler.argument(Role::Sink), handler.returned_stream()) {
        let rule = "a handler has one stream to the caller: remove this argument, or return no stream and \
                    write `async fn`";
        errors.at(sink, rule);
    }
}

#[cfg(test)]
mod tests {
    use crate::check;
    use crate::errors::Errors;
    use crate::model::Service;
    use proc_macro2::TokenStream;
    use quote::quote;

    const ORDER: &str = "the arguments have an order, in which each may be left out: \
                         `cx: &Context, request: Request, items: Items<T>, sink: Sink<T>`";

    /// What is said of a handler in an impl.
    fn said(handler: TokenStream) -> Vec<String> {
        let mut errors = Errors::default();
        let item = quote!(impl Billing { #[handler] #handler });
        let service = Service::parse(TokenStream::new(), item, &mut errors).expect("an impl is a service");
        check::service(&service, &mut errors);
        errors.messages()
    }

    #[test]
    fn every_form_of_a_stream_is_taken() {
        for handler in [
            quote!(
                async fn h(&self, items: Items<u64>) {}
            ),
            quote!(
                async fn h(&self, mut sink: requite::Sink<Vec<u8>>) -> Result<u64, Failed> {}
            ),
            quote!(
                async fn h(&self, cx: &Context, order: Order, items: Items<u64>, sink: Sink<u64>) -> u64 {}
            ),
            quote!(
                fn h(&self) -> impl Stream<Item = u64> {}
            ),
            quote!(
                fn h(&self, cx: &Context, order: Order) -> impl Send + Stream<Item = Result<u64, Failed>> {}
            ),
            quote!(
                fn h(&self, order: Order, items: Items<u64>) -> impl futures_util::Stream<Item = u64> + '_ {}
            ),
        ] {
            assert_eq!(said(handler.clone()), [""; 0], "{handler}");
        }
    }

    #[test]
    fn streams_come_last_and_once_each() {
        assert_eq!(
            said(quote!(
                async fn h(&self, sink: Sink<u64>, items: Items<u64>) {}
            )),
            [ORDER]
        );
        assert_eq!(
            said(quote!(
                async fn h(&self, items: Items<u64>, order: u64, cx: &Context) {}
            ))
            .len(),
            2
        );
        assert_eq!(
            said(quote!(
                async fn h(&self, sink: Sink<u64>, cx: &Context) {}
            )),
            [ORDER]
        );
        let twice = said(quote!(
            async fn h(&self, a: Items<u64>, b: Items<u8>, c: Sink<u64>, d: Sink<u8>) {}
        ));
        let rule = "remove this argument; for items of several kinds, use an enum";
        assert_eq!(twice, ["Items", "Sink"].map(|name| format!("a handler has one `{name}`: {rule}")));
    }

    #[test]
    fn streams_are_owned_as_their_items_are() {
        let borrowed = said(quote!(
            async fn h(&self, items: &Items<&str>, sink: &mut Sink<Self>) {}
        ));
        assert_eq!(borrowed.len(), 4);
        assert_eq!(borrowed[0], "a stream is taken by value: write `Items<T>`");
        assert_eq!(borrowed[2], "a stream is taken by value: write `Sink<T>`");
        assert_eq!(
            said(quote!(
                fn h(&self) -> impl Stream<Item = Result<&str, Failed<'_>>> {}
            ))
            .len(),
            2
        );
    }

    #[test]
    fn types_of_items_are_named() {
        let unnamed = said(quote!(
            async fn h(&self, items: Items, sink: Sink<u8, u8>) {}
        ));
        let rule = "a type of your own needs another name than";
        let named = |name| format!("name the type of the items: `{name}<T>`; {rule} `{name}`");
        assert_eq!(unnamed, ["Items", "Sink"].map(named));
        let [rule] = &said(quote!(
            fn h(&self) -> impl Stream {}
        ))[..] else {
            panic!("one rule")
        };
        assert!(rule.starts_with("name the type of the items: `impl Stream<Item = T>`"), "{rule}");
        let [rule] = &said(quote!(
            fn h(&self) -> impl Stream<Item = io::Result<u64>> {}
        ))[..] else {
            panic!("one rule")
        };
        assert!(rule.starts_with("name the error as well: `Result<Item, Error>`"), "{rule}");
    }

    #[test]
    fn streams_inside_of_other_types_are_told_where_they_may_be() {
        for handler in [
            quote!(
                async fn h(&self, all: Vec<Items<u64>>) {}
            ),
            quote!(
                async fn h(&self, items: impl Stream<Item = u64>) {}
            ),
            quote!(
                async fn h(&self) -> Sink<u64> {}
            ),
            quote!(
                async fn h(&self) -> Result<impl Stream<Item = u64>, Failed> {}
            ),
            quote!(
                fn h(&self) -> Result<impl Stream<Item = u64>, Failed> {}
            ),
            quote!(
                fn h(&self) -> Pin<Box<dyn Stream<Item = u64> + Send>> {}
            ),
            quote!(
                fn h(&self) -> impl Stream<Item = Items<u64>> {}
            ),
        ] {
            assert_eq!(said(handler.clone()), [super::FORMS], "{handler}");
        }
    }

    #[test]
    fn a_server_stream_is_returned_by_a_plain_fn_or_sent_by_an_async_one() {
        let [rule] = &said(quote!(
            async fn h(&self) -> impl Stream<Item = u64> {}
        ))[..] else {
            panic!("one rule")
        };
        assert!(
            rule.starts_with("a handler that returns a stream is a plain `fn`: remove `async`"),
            "{rule}"
        );
        let [rule] = &said(quote!(
            fn h(&self, sink: Sink<u64>) -> impl Stream<Item = u64> {}
        ))[..] else {
            panic!("one rule")
        };
        assert!(rule.starts_with("a handler has one stream to the caller"), "{rule}");
        let plain = ["a handler is async: write `async fn h`"];
        assert_eq!(
            said(quote!(
                fn h(&self, sink: Sink<u64>) {}
            )),
            plain
        );
        assert_eq!(
            said(quote!(
                unsafe fn h(&self) -> impl Stream<Item = u64> {}
            ))
            .len(),
            1
        );
    }
}
