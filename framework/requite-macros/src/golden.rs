//! Expansions as a person would read them, compared with the files in `tests/expand`. `REQUITE_BLESS=1`
//! rewrites them.

use crate::{call_error, pipeline};
use proc_macro2::TokenStream;
use quote::quote;
use std::path::Path;

fn assert_golden(name: &str, expansion: TokenStream) {
    let file = syn::parse2(expansion).expect("an expansion is a list of items");
    let expansion =
        format!("//! What `{name}` in `src/golden.rs` expands to.\n\n{}", prettyplease::unparse(&file));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expand").join(name).with_extension("rs");
    if std::env::var_os("REQUITE_BLESS").is_some() {
        std::fs::write(&path, &expansion).expect("the folder of goldens is writable");
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == expansion,
        "{} is out of date, REQUITE_BLESS=1 rewrites it:\n{expansion}",
        path.display()
    );
}

#[test]
fn smallest_service() {
    let service = pipeline::service(
        quote!(),
        quote! {
            impl Clock {
                #[handler]
                async fn tick(&self) {}
            }
        },
    );
    assert_golden("smallest_service", service);
}

#[test]
fn impl_with_every_option() {
    let service = pipeline::service(
        quote!(name = "billing", version = "1.2.0"),
        quote! {
            /// Money in, receipts out.
            impl Billing {
                /// Charges a card.
                ///
                /// Not twice.
                #[handler(lease = "30s", max_run = "2h", kill_after = "5s", concurrency = 8, once, fenced, retention = "24h")]
                async fn charge(&self, cx: &Context, order: Order) -> Result<Receipt, ChargeError> {
                    self.bank.charge(cx, order).await
                }

                #[handler(name = "give-back", attempts = 3, once = false)]
                #[allow(clippy::unused_async)]
                async fn refund(&self, Refund { id, .. }: Refund) -> Result<(), ChargeError> {
                    self.bank.refund(id).await
                }

                fn left_alone(&self) {}
            }
        },
    );
    assert_golden("impl_with_every_option", service);
}

#[test]
fn contract_trait() {
    let service = pipeline::service(
        quote!(),
        quote! {
            /// User accounts.
            pub trait UserAccounts: Send {
                /// Opens an account.
                #[handler(lease = "6s")]
                async fn open(&self, cx: &Context, who: Person) -> Result<Account, OpenError>;

                #[handler]
                async fn close(&self, account: AccountId);

                fn provided(&self) -> u32 {
                    7
                }
            }
        },
    );
    assert_golden("contract_trait", service);
}

#[test]
fn plain_reply() {
    let service = pipeline::service(
        quote!(),
        quote! {
            impl Billing<Postgres> {
                #[handler]
                async fn count(&self, cx: &Context, _: Filter) -> Vec<u64> {
                    self.count(cx).await
                }
            }
        },
    );
    assert_golden("plain_reply", service);
}

#[test]
fn conditional_handler() {
    let service = pipeline::service(
        quote!(),
        quote! {
            impl Billing {
                #[cfg(feature = "refunds")]
                #[deprecated = "ask the bank"]
                #[handler]
                async fn refund(&self, id: u64) -> Result<(), RefundError> {
                    Ok(())
                }
            }
        },
    );
    assert_golden("conditional_handler", service);
}

#[test]
fn raw_identifier() {
    let service = pipeline::service(
        quote!(),
        quote! {
            impl Schema {
                #[handler]
                async fn r#type(&self, r#ref: Reference) -> Option<Shape> {
                    self.find(r#ref)
                }
            }
        },
    );
    assert_golden("raw_identifier", service);
}

#[test]
fn free_function() {
    let service = pipeline::service(
        quote!(name = "billing"),
        quote! {
            /// Charges a card.
            #[handler(lease = "30s", attempts = 3)]
            pub(crate) async fn charge_card(cx: &Context, order: Order) -> Result<Receipt, ChargeError> {
                bank(cx).charge(order).await
            }
        },
    );
    assert_golden("free_function", service);
}

#[test]
fn service_with_mistakes() {
    let service = pipeline::service(
        quote!(nmae = "billing"),
        quote! {
            impl Billing {
                #[handler(lease = "1s")]
                async fn charge(&self, order: Order) -> Result<Receipt, ChargeError> {
                    todo!()
                }

                #[handler]
                fn refund(&self) {}
            }
        },
    );
    assert_golden("service_with_mistakes", service);
}

#[test]
fn free_function_with_mistakes() {
    let service = pipeline::service(
        quote!(lease = "30s"),
        quote! {
            fn charge(order: Order) -> Receipt {
                todo!()
            }
        },
    );
    assert_golden("free_function_with_mistakes", service);
}

#[test]
fn error_enum() {
    let error = call_error::derive(quote! {
        enum ChargeError {
            Declined { why: String },
            #[retry]
            BankDown,
            #[retry(after = "30s")]
            Busy(u32),
        }
    });
    assert_golden("error_enum", error);
}

#[test]
fn error_struct() {
    let final_error = call_error::derive(quote!(
        struct NotFound;
    ));
    let retried_error = call_error::derive(quote! {
        #[retry(after = "1m")]
        struct Busy<T: Clone>
        where
            T: Send,
        {
            with: T,
        }
    });
    assert_golden("error_struct", quote!(#final_error #retried_error));
}
