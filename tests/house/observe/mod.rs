//! Observing: what a Kafka cluster says, and what is made of its silences. The cluster is librdkafka's mock, which speaks the real
//! protocol over TCP, so time is real here, and short.

mod rig;
mod broker;
mod contract;
mod answers;
mod faults;
mod sharing;
mod scripted;
mod owners;
mod pressed;
mod recorded;
