//! The rules on `#[retry]`.

use super::model::{Input, Retry};
use crate::errors::Errors;
use std::time::Duration;
use syn::Data;

const LONGEST_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn input(input: &Input, errors: &mut Errors) {
    match &input.item.data {
        Data::Struct(_) => retries(&input.retries, errors),
        Data::Enum(_) => {
            for retry in &input.retries {
                errors.at(&retry.original, "#[retry] belongs on the variants that are worth another attempt");
            }
        }
        Data::Union(data) => {
            errors.at(
                data.union_token,
                "an error is an enum or a struct: the fields of a union have no names to match",
            );
        }
    }
    for variant in &input.variants {
        retries(&variant.retries, errors);
    }
    for attr in &input.stray {
        errors.at(attr, "#[retry] belongs on a variant, or on a struct, not on a field");
    }
}

fn retries(retries: &[Retry], errors: &mut Errors) {
    for again in retries.iter().skip(1) {
        errors.at(&again.original, "#[retry] is given twice: keep one");
    }
    for after in retries.iter().filter_map(|retry| retry.options.after.as_ref()) {
        if after.value.is_zero() || after.value > LONGEST_DELAY {
            errors.at(
                after,
                "a delay is more than nothing and at most 24h; `#[retry]` alone has the default delay",
            );
        }
    }
}
