//! Assertions that a handler's types can cross the network, so that a missing derive is reported on the type
//! in the signature.

use crate::model::{Handler, Output};
use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ReturnType, Type};

pub(super) fn assertions(handler: &Handler) -> TokenStream {
    let (cfgs, Output { reply, error }) = (handler.cfgs(), handler.output());
    // Without a type for the reply there is no token to point to, and `()` is one.
    let is_named = matches!(handler.sig.output, ReturnType::Type(..)) && handler.returned_stream().is_none();
    let reply = is_named.then_some(reply);
    let request = handler
        .request()
        .map(|request| assertion(&quote!(request), &request.ty, &quote!(::requite::__private::RequestType)));
    let reply = reply.map(|ty| assertion(&quote!(reply), &ty, &quote!(::requite::__private::ReplyType)));
    let error = error.map(|ty| assertion(&quote!(error), &ty, &quote!(::requite::HandlerError)));
    // Each in a block, because there may be two of one name.
    let items = [handler.up(), handler.down()].into_iter().flatten().map(|ty| {
        let item = assertion(&quote!(item), ty, &quote!(::requite::__private::ItemType));
        quote!({ #item })
    });
    let items: Vec<TokenStream> = items.collect();
    if request.is_none() && items.is_empty() && reply.is_none() && error.is_none() {
        return TokenStream::new();
    }
    quote! {
        #(#cfgs)*
        const _: fn() = || {
            #request
            #(#items)*
            #reply
            #error
        };
    }
}

fn assertion(role: &TokenStream, ty: &Type, bound: &TokenStream) -> TokenStream {
    let span = Span::call_site().located_at(ty.span());
    quote_spanned! {span=>
        fn #role<T: #bound>() {}
        #role::<#ty>();
    }
}
