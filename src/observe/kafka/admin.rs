//! The calls of librdkafka that have no safe binding: many offsets in one request, the commits of a group without joining it, and
//! topics with their ids. Called by `client.rs` alone. Every object of the library is owned by a wrapper that frees it; requests are
//! answered on one queue whose bell wakes a task, so nothing polls and nothing blocks but the last farewell.
#![expect(
    unsafe_code,
    reason = "librdkafka's ListOffsets and ListConsumerGroupOffsets have no safe binding"
)]

use std::ffi::{CStr, CString, c_char, c_void};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka_sys as native;
use rdkafka_sys::types::RDKafkaErrorCode as Code;
use tokio::sync::Notify;

/// Room for a message of the library.
const MESSAGE: usize = 512;

/// An object of the library that is freed when it goes out of scope.
struct Owned<T> {
    object: NonNull<T>,
    free: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    fn new(object: *mut T, free: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        NonNull::new(object).map(|object| Self { object, free })
    }

    fn get(&self) -> *mut T {
        self.object.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the object is ours, `free` is the library's destructor for it, and nobody can use it after this.
        unsafe { (self.free)(self.get()) }
    }
}

// SAFETY: the library is thread-safe as documented; its objects have no tie to the thread that made them.
unsafe impl<T> Send for Owned<T> {}
// SAFETY: through a shared reference only thread-safe calls (queue poll, requests) and reads of immutable results are made.
unsafe impl<T> Sync for Owned<T> {}

/// Which request an answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(usize);

/// Which offset of a partition is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spec {
    /// The log start.
    Earliest,
    /// The high watermark.
    Latest,
    /// The last stable offset.
    LatestStable,
}

/// One thing that came out of the queue.
pub(super) enum Event {
    /// An answer.
    Reply(Ticket, Reply),
    /// The client is in trouble; not tied to a request.
    Trouble(Code, String),
    /// A line for the log.
    Log(i32, String),
}

/// A client of one cluster.
pub(super) struct Admin {
    // Fields are dropped in this order: the queue lets go of the client, the client of the bell.
    queue: Queue,
    client: Owned<native::rd_kafka_t>,
    next: usize,
}

struct Queue {
    queue: Owned<native::rd_kafka_queue_t>,
    bell: Arc<Notify>,
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the queue is alive; without a callback the library no longer touches the bell, which we own until after this.
        unsafe { native::rd_kafka_queue_cb_event_enable(self.queue.get(), None, ptr::null_mut()) }
    }
}

/// Called by the library's threads when the queue stops being empty.
unsafe extern "C" fn ring(_client: *mut native::rd_kafka_t, bell: *mut c_void) {
    // SAFETY: `bell` is the pointer given in `Admin::new`, kept alive by `Queue` until the callback is taken back.
    unsafe { &*bell.cast_const().cast::<Notify>() }.notify_one();
}

fn text(chars: *const c_char) -> String {
    if chars.is_null() {
        return String::new();
    }
    // SAFETY: the library hands out NUL-terminated strings that live as long as the object they come from, which the caller holds.
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().trim().to_owned()
}

fn failed(message: &[u8]) -> String {
    CStr::from_bytes_until_nul(message)
        .map(|text| text.to_string_lossy().into_owned())
        .unwrap_or_default()
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

impl Admin {
    /// Makes a client. The error is the name of the setting that was refused and why; never its value.
    pub(super) fn new(
        settings: &[(&'static str, CString)],
    ) -> Result<Self, (&'static str, String)> {
        let mut message = [0_u8; MESSAGE];
        // SAFETY: no preconditions.
        let conf =
            Owned::new(unsafe { native::rd_kafka_conf_new() }, native::rd_kafka_conf_destroy)
                .ok_or_else(|| ("client", "out of memory".to_owned()))?;
        for (name, value) in settings {
            let key = CString::new(*name).map_err(|_| (*name, "bad name".to_owned()))?;
            // SAFETY: all pointers are valid for the call; the message buffer has the stated size.
            let outcome = unsafe {
                native::rd_kafka_conf_set(
                    conf.get(),
                    key.as_ptr(),
                    value.as_ptr(),
                    message.as_mut_ptr().cast(),
                    message.len(),
                )
            };
            if outcome != native::rd_kafka_conf_res_t::RD_KAFKA_CONF_OK {
                return Err((name, "the value is not accepted".to_owned()));
            }
        }
        // SAFETY: the configuration is alive and not yet given away.
        unsafe { native::rd_kafka_conf_set_events(conf.get(), native::RD_KAFKA_EVENT_ERROR) }
        // SAFETY: the configuration is alive; on success the library takes it over.
        let client = unsafe {
            native::rd_kafka_new(
                native::rd_kafka_type_t::RD_KAFKA_CONSUMER,
                conf.get(),
                message.as_mut_ptr().cast(),
                message.len(),
            )
        };
        let Some(client) = Owned::new(client, native::rd_kafka_destroy) else {
            return Err(("client", failed(&message)));
        };
        std::mem::forget(conf);
        // SAFETY: the client is alive; a new queue is ours to destroy.
        let queue = Owned::new(
            unsafe { native::rd_kafka_queue_new(client.get()) },
            native::rd_kafka_queue_destroy,
        )
        .ok_or_else(|| ("client", "no queue".to_owned()))?;
        let bell = Arc::new(Notify::new());
        // SAFETY: the main queue reference is ours to destroy; forwarding keeps its own references to both queues.
        unsafe {
            let main = native::rd_kafka_queue_get_main(client.get());
            native::rd_kafka_queue_forward(main, queue.get());
            native::rd_kafka_set_log_queue(client.get(), main);
            native::rd_kafka_queue_destroy(main);
        }
        // SAFETY: `ring` only uses the bell, which `Queue` keeps alive until it has taken the callback back.
        unsafe {
            let bell = Arc::as_ptr(&bell).cast_mut().cast();
            native::rd_kafka_queue_cb_event_enable(queue.get(), Some(ring), bell);
        }
        Ok(Self { queue: Queue { queue, bell }, client, next: 1 })
    }

    /// Waits for the next event.
    pub(super) async fn event(&self) -> Event {
        loop {
            // SAFETY: the queue is alive; a timeout of zero never blocks; the event is ours to destroy.
            let event = unsafe { native::rd_kafka_queue_poll(self.queue.queue.get(), 0) };
            match Owned::new(event, native::rd_kafka_event_destroy) {
                Some(event) => {
                    if let Some(event) = sort(event) {
                        return event;
                    }
                }
                None => self.queue.bell.notified().await,
            }
        }
    }

    /// The id of the cluster, once known.
    pub(super) fn cluster_id(&self) -> Option<String> {
        // SAFETY: a timeout of zero never blocks; the string is ours and freed by the library's own allocator.
        unsafe {
            let id = native::rd_kafka_clusterid(self.client.get(), 0);
            let name = (!id.is_null()).then(|| text(id));
            native::rd_kafka_mem_free(self.client.get(), id.cast());
            name
        }
    }

    /// Options of a request, and the ticket that its answer will carry.
    fn options(
        &mut self,
        call: native::rd_kafka_admin_op_t,
        timeout: Duration,
    ) -> Option<(Ticket, Owned<native::rd_kafka_AdminOptions_t>)> {
        // SAFETY: the client is alive; the options are ours to destroy.
        let options = unsafe { native::rd_kafka_AdminOptions_new(self.client.get(), call) };
        let options = Owned::new(options, native::rd_kafka_AdminOptions_destroy)?;
        let ticket = Ticket(self.next);
        self.next = self.next.wrapping_add(1).max(1);
        let timeout = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX).max(1);
        let mut message = [0_u8; MESSAGE];
        // SAFETY: the options are alive and the buffer has the stated size; the opaque is a number that nobody follows.
        unsafe {
            native::rd_kafka_AdminOptions_set_request_timeout(
                options.get(),
                timeout,
                message.as_mut_ptr().cast(),
                message.len(),
            );
            native::rd_kafka_AdminOptions_set_opaque(
                options.get(),
                ptr::without_provenance_mut(ticket.0),
            );
        }
        Some((ticket, options))
    }

    /// Asks for an offset of each of these partitions. The answer has them in this order.
    pub(super) fn ask_offsets<'a>(
        &mut self,
        partitions: impl Iterator<Item = (&'a CStr, i32)>,
        spec: Spec,
        timeout: Duration,
    ) -> Option<Ticket> {
        let list = list(
            partitions,
            match spec {
                Spec::Earliest => {
                    native::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_EARLIEST as i64
                }
                Spec::Latest | Spec::LatestStable => {
                    native::rd_kafka_OffsetSpec_t::RD_KAFKA_OFFSET_SPEC_LATEST as i64
                }
            },
        )?;
        let call = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
        let (ticket, options) = self.options(call, timeout)?;
        if spec == Spec::LatestStable {
            let level = native::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED;
            // SAFETY: the options are alive; the error, if any, is ours to destroy (destroying none is allowed).
            unsafe {
                native::rd_kafka_error_destroy(native::rd_kafka_AdminOptions_set_isolation_level(
                    options.get(),
                    level,
                ));
            }
        }
        // SAFETY: all objects are alive for the call, which copies what it needs.
        unsafe {
            native::rd_kafka_ListOffsets(
                self.client.get(),
                list.get(),
                options.get(),
                self.queue.queue.get(),
            );
        }
        Some(ticket)
    }

    /// Asks for the commits of a group on these partitions, at least one.
    pub(super) fn ask_commits<'a>(
        &mut self,
        group: &CStr,
        partitions: impl Iterator<Item = (&'a CStr, i32)>,
        timeout: Duration,
    ) -> Option<Ticket> {
        let list = list(partitions, i64::from(native::RD_KAFKA_OFFSET_INVALID))?;
        let call = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS;
        let (ticket, options) = self.options(call, timeout)?;
        // SAFETY: group and list are alive for the call, which copies them; the request object is ours to destroy.
        let request =
            unsafe { native::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), list.get()) };
        let request = Owned::new(request, native::rd_kafka_ListConsumerGroupOffsets_destroy)?;
        let mut requests = [request.get()];
        // SAFETY: all objects are alive for the call, which copies what it needs; the array holds one entry.
        unsafe {
            native::rd_kafka_ListConsumerGroupOffsets(
                self.client.get(),
                requests.as_mut_ptr(),
                requests.len(),
                options.get(),
                self.queue.queue.get(),
            );
        }
        Some(ticket)
    }

    /// Asks what these topics look like. The answer has them in this order.
    pub(super) fn ask_topics(&mut self, topics: &[&CStr], timeout: Duration) -> Option<Ticket> {
        let mut names: Vec<*const c_char> = topics.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the array and its strings are alive for the call, which copies them; the collection is ours to destroy.
        let names = unsafe {
            native::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len())
        };
        let names = Owned::new(names, native::rd_kafka_TopicCollection_destroy)?;
        let call = native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
        let (ticket, options) = self.options(call, timeout)?;
        // SAFETY: all objects are alive for the call, which copies what it needs.
        unsafe {
            native::rd_kafka_DescribeTopics(
                self.client.get(),
                names.get(),
                options.get(),
                self.queue.queue.get(),
            );
        }
        Some(ticket)
    }
}

fn list<'a>(
    partitions: impl Iterator<Item = (&'a CStr, i32)>,
    offset: i64,
) -> Option<Owned<native::rd_kafka_topic_partition_list_t>> {
    let size = i32::try_from(partitions.size_hint().0).unwrap_or(0);
    // SAFETY: no preconditions; the list is ours to destroy.
    let list = unsafe { native::rd_kafka_topic_partition_list_new(size) };
    let list = Owned::new(list, native::rd_kafka_topic_partition_list_destroy)?;
    for (topic, partition) in partitions {
        // SAFETY: list and topic are alive, the topic is copied; the new element is valid until the next one is added.
        unsafe {
            let element =
                native::rd_kafka_topic_partition_list_add(list.get(), topic.as_ptr(), partition);
            (*element).offset = offset;
        }
    }
    Some(list)
}

/// Tells what an event is; `None` when it is of no interest.
fn sort(event: Owned<native::rd_kafka_event_t>) -> Option<Event> {
    // SAFETY: the event is alive in all the calls below, and the strings they hand out are copied at once.
    unsafe {
        match native::rd_kafka_event_type(event.get()) {
            native::RD_KAFKA_EVENT_ERROR => Some(Event::Trouble(
                native::rd_kafka_event_error(event.get()).into(),
                text(native::rd_kafka_event_error_string(event.get())),
            )),
            native::RD_KAFKA_EVENT_LOG => {
                let (mut facility, mut line, mut level) = (ptr::null(), ptr::null(), 0);
                native::rd_kafka_event_log(
                    event.get(),
                    &raw mut facility,
                    &raw mut line,
                    &raw mut level,
                );
                Some(Event::Log(level, text(line)))
            }
            native::RD_KAFKA_EVENT_LISTOFFSETS_RESULT
            | native::RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT
            | native::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT => {
                let ticket = Ticket(native::rd_kafka_event_opaque(event.get()).addr());
                Some(Event::Reply(ticket, Reply(event)))
            }
            _ => None,
        }
    }
}

/// An answer, still in the library's hands.
pub(super) struct Reply(Owned<native::rd_kafka_event_t>);

/// What an answer says of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    /// Its name.
    pub(super) name: String,
    /// Its id, zero where the broker has none.
    pub(super) id: (i64, i64),
    /// Leader of each partition, by partition number; -1 for none. Or why there is nothing.
    pub(super) leaders: Result<Vec<i32>, Code>,
}

impl Reply {
    /// Did the request fail as a whole?
    pub(super) fn error(&self) -> Option<(Code, String)> {
        // SAFETY: the event is alive.
        let (code, message) = unsafe {
            (
                native::rd_kafka_event_error(self.0.get()),
                text(native::rd_kafka_event_error_string(self.0.get())),
            )
        };
        let code = Code::from(code);
        (code != Code::NoError).then_some((code, message))
    }

    /// Hands each partition of a `ask_offsets` answer to `take`, in the order asked.
    pub(super) fn offsets(&self, mut take: impl FnMut(&CStr, i32, Result<Option<i64>, Code>)) {
        let mut count = 0;
        // SAFETY: the event is alive and of this type (else the result is null); `count` says how many entries the array has, each
        // valid as long as the event.
        unsafe {
            let result = native::rd_kafka_event_ListOffsets_result(self.0.get());
            if result.is_null() {
                return;
            }
            let infos = native::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            for index in 0..count {
                hand(
                    native::rd_kafka_ListOffsetsResultInfo_topic_partition(*infos.add(index)),
                    &mut take,
                );
            }
        }
    }

    /// Hands each partition of a `ask_commits` answer to `take`, in any order.
    pub(super) fn commits(&self, mut take: impl FnMut(&CStr, i32, Result<Option<i64>, Code>)) {
        let mut count = 0;
        // SAFETY: as above; the list of a group may be null, its elements lie in one array of `cnt` entries.
        unsafe {
            let result = native::rd_kafka_event_ListConsumerGroupOffsets_result(self.0.get());
            if result.is_null() {
                return;
            }
            let groups =
                native::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
            for index in 0..count {
                let list = native::rd_kafka_group_result_partitions(*groups.add(index));
                if list.is_null() {
                    continue;
                }
                for element in 0..usize::try_from((*list).cnt).unwrap_or(0) {
                    hand((*list).elems.add(element), &mut take);
                }
            }
        }
    }

    /// What a `ask_topics` answer says, in the order asked.
    pub(super) fn topics(&self) -> Vec<Topic> {
        let mut count = 0;
        // SAFETY: as above; partition arrays have the stated counts; a partition's leader may be null.
        unsafe {
            let result = native::rd_kafka_event_DescribeTopics_result(self.0.get());
            if result.is_null() {
                return Vec::new();
            }
            let topics = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            (0..count).map(|index| describe(*topics.add(index))).collect()
        }
    }
}

/// # Safety
/// `element` must point to a live partition element.
unsafe fn hand(
    element: *const native::rd_kafka_topic_partition_t,
    take: &mut impl FnMut(&CStr, i32, Result<Option<i64>, Code>),
) {
    // SAFETY: the caller vouches for the element; its topic is a NUL-terminated string that lives as long.
    let (topic, element) = unsafe { (CStr::from_ptr((*element).topic), &*element) };
    let code = Code::from(element.err);
    let offset = if code == Code::NoError {
        Ok((element.offset >= 0).then_some(element.offset))
    } else {
        Err(code)
    };
    take(topic, element.partition, offset);
}

/// # Safety
/// `topic` must point to a live description.
unsafe fn describe(topic: *const native::rd_kafka_TopicDescription_t) -> Topic {
    let mut count = 0;
    // SAFETY: the caller vouches for the description; arrays have the stated counts and live as long.
    unsafe {
        let name = text(native::rd_kafka_TopicDescription_name(topic));
        let code =
            Code::from(native::rd_kafka_error_code(native::rd_kafka_TopicDescription_error(topic)));
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let id = if id.is_null() {
            (0, 0)
        } else {
            (
                native::rd_kafka_Uuid_most_significant_bits(id),
                native::rd_kafka_Uuid_least_significant_bits(id),
            )
        };
        let partitions = native::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let leaders = (0..count)
            .map(|index| {
                let leader = native::rd_kafka_TopicPartitionInfo_leader(*partitions.add(index));
                if leader.is_null() { -1 } else { native::rd_kafka_Node_id(leader) }
            })
            .collect();
        Topic { name, id, leaders: if code == Code::NoError { Ok(leaders) } else { Err(code) } }
    }
}
