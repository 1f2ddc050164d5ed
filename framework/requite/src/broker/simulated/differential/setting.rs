//! The streams and consumers of a sequence: made as set-up makes them, changed as operators and newer versions change
//! them, and deleted under those who use them.

use super::{
    super::configs,
    play::{Player, SILENCE},
};
use crate::{
    broker::{Broker, Outgoing, api},
    wire::jetstream::{ConsumerConfig, StreamConfig, Transform, nanos},
};

impl<B: Broker> Player<'_, B> {
    pub(super) async fn set_up(&mut self) {
        for config in self.streams() {
            let created = api::create_stream(self.broker, &config).await;
            self.note("create stream", created.map(|it| (it.config == config, it.state)));
        }
        let requests = self.subjects.request_stream();
        let changed = StreamConfig {
            max_msgs: 5,
            ..configs::stream(requests.clone(), vec![self.subjects.requests("m")])
        };
        let overlapping = configs::stream(format!("{requests}X"), vec![self.subjects.any_request()]);
        for config in [changed, overlapping] {
            let refused = api::create_stream(self.broker, &config).await;
            self.note("create stream", refused.map(|it| it.config));
        }
        let m = self.consumer("m");
        let other = ConsumerConfig { max_waiting: 7, ..m.clone() };
        let overlapping = ConsumerConfig { durable_name: "x".into(), ..m.clone() };
        let outside = configs::consumer("y", "elsewhere.>".into(), self.plan.lease);
        let n = self.consumer("n");
        for (config, action) in [
            (&m, "update"),
            (&m, "create"),
            (&m, "create"),
            (&other, "create"),
            (&overlapping, "create"),
            (&outside, "create"),
            (&n, "create"),
        ] {
            self.put_consumer(config, action).await;
        }
    }

    fn streams(&mut self) -> [StreamConfig; 3] {
        let limits = [-1, 4, 7];
        let (max_requests, max_records) = (self.one_of(&limits), self.one_of(&limits));
        let (request_bytes, record_bytes) = (self.one_of(&[-1, -1, 900]), self.one_of(&[-1, 700]));
        let (src, dest) = self.subjects.record_transform("secret");
        let (from, to) = self.subjects.record_republish();
        let requests = configs::stream(
            self.subjects.request_stream(),
            vec![self.subjects.requests("m"), self.subjects.requests("n")],
        );
        let records = configs::stream(self.subjects.record_stream(), self.subjects.records_put("secret"));
        let letters = configs::stream(self.subjects.dead_letter_stream(), vec![self.subjects.dead_letters()]);
        [
            StreamConfig {
                retention: "workqueue".into(),
                discard_new_per_subject: true,
                max_msgs: max_requests,
                max_bytes: request_bytes,
                ..requests
            },
            StreamConfig {
                max_msgs: max_records,
                max_bytes: record_bytes,
                allow_direct: true,
                allow_msg_ttl: true,
                subject_transform: Some(Transform { src, dest }),
                republish: Some(Transform { src: from, dest: to }),
                ..records
            },
            StreamConfig { discard: "old".into(), max_bytes: 400, ..letters },
        ]
    }

    fn consumer(&self, method: &str) -> ConsumerConfig {
        let consumer = configs::consumer(method, self.subjects.requests(method), self.plan.lease);
        ConsumerConfig { max_waiting: if method == "n" { 2 } else { 512 }, ..consumer }
    }

    async fn put_consumer(&mut self, config: &ConsumerConfig, action: &str) {
        let put = api::put_consumer(self.broker, &self.subjects.request_stream(), config, action).await;
        self.note(
            &format!("{action} consumer {}", config.durable_name),
            put.map(|it| (it.config != *config).then_some(it.config)),
        );
    }

    /// A newer version of the service has one more method.
    pub(super) async fn new_method(&mut self) {
        let name = self.subjects.request_stream();
        let Ok(mut found) = api::stream_info(self.broker, &name).await else { return };
        let late = self.subjects.requests("late");
        if !found.config.subjects.contains(&late) {
            found.config.subjects.push(late);
        }
        let updated = api::update_stream(self.broker, &found.config).await;
        self.note("new method", updated.map(|it| it.config == found.config));
        let late = self.consumer("late");
        self.put_consumer(&late, "create").await;
    }

    /// Somebody deletes a consumer and makes it anew; or a newer version has a longer lease.
    pub(super) async fn new_consumer(&mut self) {
        let n = self.consumer("n");
        if self.one_in(2) {
            let longer = ConsumerConfig { ack_wait: nanos(self.plan.lease) * 100, ..n };
            return self.put_consumer(&longer, "update").await;
        }
        self.open("n", r#"{"batch":1,"expires":5000000000}"#).await;
        self.settle_down().await;
        self.delete(format!("CONSUMER.DELETE.{}.n", self.subjects.request_stream())).await;
        self.collect("pull of the deleted consumer", 2).await;
        self.put_consumer(&n, "create").await;
    }

    async fn delete(&mut self, what: String) {
        let answer = self.broker.request(Outgoing::new(format!("$JS.API.{what}"), ""), SILENCE).await;
        let answer = answer.map(|it| {
            let value: serde_json::Value = serde_json::from_slice(&it.payload).unwrap();
            (value["success"].clone(), value["error"].clone())
        });
        self.note("delete", answer);
    }

    /// The streams vanish under those who use them.
    pub(super) async fn take_down(&mut self) {
        self.open("m", r#"{"batch":9,"expires":5000000000}"#).await;
        self.settle_down().await;
        let names = [
            self.subjects.request_stream(),
            self.subjects.record_stream(),
            self.subjects.dead_letter_stream(),
            "NONE".into(),
        ];
        for name in names {
            self.delete(format!("STREAM.DELETE.{name}")).await;
        }
        self.collect("pull of the deleted stream", 10).await;
        self.request().await;
        self.pull().await;
        self.settle().await;
        self.read().await;
        self.look().await;
    }
}
