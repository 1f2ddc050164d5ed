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
fn server_stream() {
    let service = pipeline::service(
        quote!(),
        quote! {
            impl Ledger {
                /// The entries of an account.
                #[handler(idle = "5m")]
                fn entries(&self, cx: &Context, account: Account) -> impl Stream<Item = Result<Entry, ReadError>> {
                    self.read(cx, account)
                }

                #[handler(volatile)]
                fn ticks(&self) -> impl Stream<Item = u64> + '_ {
                    self.clock.ticks()
                }

                #[handler]
                async fn export(&self, format: Format, mut sink: Sink<Vec<u8>>) -> Result<Summary, ReadError> {
                    self.write(format, &mut sink).await
                }
            }
        },
    );
    assert_golden("server_stream", service);
}

#[test]
fn client_stream_and_bidirectional() {
    let service = pipeline::service(
        quote!(),
        quote! {
            impl Ledger {
                #[handler]
                async fn import(&self, account: Account, items: Items<Entry>) -> Result<u64, WriteError> {
                    self.write(account, items).await
                }

                #[handler]
                async fn convert(&self, cx: &Context, items: Items<Entry>, sink: Sink<Line>) {
                    self.convert(cx, items, sink).await
                }

                #[handler]
                fn echo(&self, items: Items<u64>) -> impl Stream<Item = u64> {
                    items
                }
            }
        },
    );
    assert_golden("client_stream_and_bidirectional", service);
}

#[test]
fn contract_with_streams() {
    let service = pipeline::service(
        quote!(),
        quote! {
            pub trait Ledger: Send {
                #[handler]
                fn entries(&self, account: Account) -> impl Stream<Item = Result<Entry, ReadError>>;

                #[handler]
                async fn convert(&self, items: Items<Entry>, sink: Sink<Line>) -> u64;
            }
        },
    );
    assert_golden("contract_with_streams", service);
}

#[test]
fn function_returning_a_stream() {
    let service = pipeline::service(
        quote!(),
        quote! {
            fn ticks(cx: &Context) -> impl Stream<Item = u64> {
                clock(cx)
            }
        },
    );
    assert_golden("function_returning_a_stream", service);
}

#[test]
fn streams_with_mistakes() {
    let service = pipeline::service(
        quote!(),
        quote! {
            trait Ledger {
                #[handler(idle = "1ms")]
                fn entries(&self, account: Account) -> impl Stream<Item = Result<Entry, ReadError>>;

                #[handler]
                async fn convert(&self, items: Items<Entry>, sink: Sink<Line>) -> u64;

                #[handler]
                async fn ticks(&self) -> impl Stream<Item = u64>;

                #[handler]
                async fn import(&self, items: &Items<Entry>);
            }
        },
    );
    assert_golden("streams_with_mistakes", service);
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
