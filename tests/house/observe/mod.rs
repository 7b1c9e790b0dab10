//! Observing: what servers say, and what is made of their silences. Kafka is librdkafka's mock and a broker of our own, the others are
//! servers of a few lines; all speak over TCP, so time is real here, and short.

mod rig;
mod broker;
mod line;
mod webs;
mod rabbits;
mod jetstream;
mod contract;
mod answers;
mod faults;
mod sharing;
mod scripted;
mod owners;
mod pressed;
mod recorded;
mod logins;
mod prometheus;
mod http;
mod scaler;
mod redis;
mod sql;
mod rabbitmq;
mod nats;
mod sqs;
mod words;
mod lineage;
mod hangs;
