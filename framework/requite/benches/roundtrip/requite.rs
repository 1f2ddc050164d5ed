//! Requite itself: the same echo through the crate's public API.
//!
//! This path joins the table with the crate's caller and worker. It implements [`Path`](crate::path::Path) as
//! [`ByHand`](crate::by_hand::ByHand) does (`set_up` connects two clients and starts one worker with 1,000 slots,
//! `call` makes one unkeyed call) and is listed in [`Variant`](crate::variant::Variant).
