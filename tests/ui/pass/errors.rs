//! What `CallError` accepts: enums with and without variants to retry, structs, type parameters.

use requite::prelude::*;
use requite::{HandlerError, Retry};
use serde::de::DeserializeOwned;
use std::{fmt, time::Duration};

#[derive(Debug, Serialize, Deserialize, CallError)]
enum Final {
    Gone,
    Closed(u8),
}

#[derive(Debug, Serialize, Deserialize, CallError)]
enum Mixed {
    Gone,
    #[retry]
    Down(u8),
    #[retry(after = "1m 30s")]
    Busy {
        queue: u8,
    },
}

#[derive(Debug, Serialize, Deserialize, CallError)]
#[retry]
struct Overloaded;

#[derive(Debug, Serialize, Deserialize, CallError)]
enum Never {}

#[derive(Debug, Serialize, Deserialize, CallError)]
#[serde(bound = "")]
enum With<T: fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static> {
    #[retry()]
    Detail(T),
}

macro_rules! errors {
    ($($error:ty),*) => {
        $(
            impl fmt::Display for $error {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{self:?}")
                }
            }
            impl std::error::Error for $error {}
        )*
    };
}
errors!(Final, Mixed, Overloaded, Never);

impl<T: fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static> fmt::Display for With<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
impl<T: fmt::Debug + Serialize + DeserializeOwned + Send + Sync + 'static> std::error::Error for With<T> {}

fn main() {
    assert!(matches!(Final::Gone.retry(), Retry::Never));
    assert!(matches!(Final::Closed(1).retry(), Retry::Never));
    assert!(matches!(Mixed::Gone.retry(), Retry::Never));
    assert!(matches!(Mixed::Down(1).retry(), Retry::Default));
    let busy = Mixed::Busy { queue: 1 }.retry();
    assert!(matches!(busy, Retry::After(delay) if delay == Duration::from_secs(90)));
    assert!(matches!(Overloaded.retry(), Retry::Default));
    assert!(matches!(With::Detail(1).retry(), Retry::Default));
}
