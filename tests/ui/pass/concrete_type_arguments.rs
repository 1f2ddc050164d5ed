//! A generic type is a service once its arguments are chosen; the client is named after the type.

use requite::prelude::*;

struct Billing<S>(S);

#[service]
impl Billing<Vec<u8>> {
    #[handler]
    async fn size(&self) -> usize {
        self.0.len()
    }
}

fn main() {
    let _definition = requite::Service::definition(Billing(vec![1, 2]));
    let _ = |client: BillingClient| client.size();
}
