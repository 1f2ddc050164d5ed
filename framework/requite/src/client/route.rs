//! The way to one method: everything that is the same in every call of it, built once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, RwLock},
};

use super::config::Config;
use crate::{
    broker::Headers,
    name::{InvalidName, Name, RequestId},
    protocol::time::{Moment, ServerClock},
    service::Method,
    subject::{ServiceSubjects, joined},
    wire::request::Envelope,
};

/// What is known of one method.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) subjects: ServiceSubjects,
    pub(super) method: Name,
    pub(super) caller: Name,
    pub(super) record_stream: String,
    request_prefix: String,
    message_id_prefix: String,
    record_prefix: String,
    /// Headers that every request has.
    pub(super) template: Headers,
    /// The server's clock, as the records of this method tell it.
    clock: Mutex<ServerClock>,
}

impl Route {
    fn new(config: &Config, service: Name, method: Name) -> Self {
        let subjects = ServiceSubjects::new(&config.namespace, &service);
        let caller = &config.caller;
        Self {
            record_stream: subjects.record_stream(),
            request_prefix: subjects.request_prefix(&method, caller),
            message_id_prefix: format!("{method}.{caller}."),
            record_prefix: subjects.record(caller.as_str(), ""),
            template: Envelope::template(config.content_type),
            clock: Mutex::default(),
            subjects,
            method,
            caller: caller.clone(),
        }
    }

    pub(super) fn request(&self, id: &RequestId) -> String {
        joined([&self.request_prefix, id.as_str()])
    }

    /// The id that deduplicates publishes; ids are per stream, so method and caller are in it.
    pub(super) fn message_id(&self, id: &RequestId) -> String {
        joined([&self.message_id_prefix, id.as_str()])
    }

    pub(super) fn record(&self, id: &RequestId) -> String {
        joined([&self.record_prefix, id.as_str()])
    }

    /// Where the progress of `id` is stored.
    pub(super) fn progress(&self, id: &RequestId) -> String {
        self.subjects.progress(self.caller.as_str(), id.as_str())
    }

    /// Whether `subject` is the record of `id`.
    pub(super) fn is_record(&self, subject: &str, id: &RequestId) -> bool {
        subject.strip_prefix(&self.record_prefix) == Some(id.as_str())
    }

    /// A lower bound of the server's clock, or nothing before the first record.
    pub(super) fn server_now(&self, now: Moment) -> Option<u64> {
        self.clock.lock().expect("nobody panics with a clock in hand").now(now)
    }

    pub(super) fn observe(&self, stored: u64, now: Moment) {
        self.clock.lock().expect("nobody panics with a clock in hand").observe(stored, now);
    }
}

/// The routes that a client has used.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: RwLock<HashMap<(&'static str, &'static str), Arc<Route>>>,
}

impl Routes {
    pub(super) fn to(&self, config: &Config, method: &Method) -> Result<Arc<Route>, InvalidName> {
        let key = (method.service, method.name);
        if let Some(route) = self.known.read().expect("nobody panics with the routes in hand").get(&key) {
            return Ok(Arc::clone(route));
        }
        let route = Arc::new(Route::new(config, method.service.parse()?, method.name.parse()?));
        let mut known = self.known.write().expect("nobody panics with the routes in hand");
        Ok(Arc::clone(known.entry(key).or_insert(route)))
    }
}
