//! The kinds that are there from the start. Read once by `Cluster::new`; shapes come from `shapes`, defaults from `defaults`.
//! Stored only, with no controller behind them: services, service accounts, secrets, config maps, cron jobs, autoscalers,
//! disruption budgets.

use super::defaults;
use super::kinds::{Catalogue, Fill, Resource, ScalePaths};
use super::refusal::qualified;
use super::shapes::Shapes;
use crate::crd::schema::{Node, Schema};
use k8s_openapi::api::{
    apps::v1 as apps, autoscaling::v2 as autoscaling, batch::v1 as batch,
    coordination::v1 as coordination, core::v1 as core, policy::v1 as policy,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use std::sync::Arc;

/// A built-in kind in short: what differs between them.
struct Line {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
    short: &'static [&'static str],
    all: bool,
    namespaced: bool,
    status: bool,
    fill: Option<Fill>,
}

const fn line(
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    kind: &'static str,
) -> Line {
    Line {
        group,
        version,
        plural,
        kind,
        short: &[],
        all: false,
        namespaced: true,
        status: false,
        fill: None,
    }
}

impl Line {
    const fn short(mut self, short: &'static [&'static str]) -> Self {
        self.short = short;
        self
    }
    const fn in_all(mut self) -> Self {
        self.all = true;
        self
    }
    const fn cluster(mut self) -> Self {
        self.namespaced = false;
        self
    }
    const fn status(mut self) -> Self {
        self.status = true;
        self
    }
    const fn fill(mut self, fill: Fill) -> Self {
        self.fill = Some(fill);
        self
    }

    fn resource(self, schema: Option<Schema>) -> Resource {
        let shape = schema
            .as_ref()
            .map_or_else(|| Arc::new(Node::default()), |schema| Arc::clone(schema.root()));
        let api_version = if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        };
        let selectable: &[&str] = match self.kind {
            "Pod" => &[
                "spec.nodeName",
                "status.phase",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "status.podIP",
            ],
            "Event" => &[
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
                "reason",
                "reportingComponent",
                "source",
                "type",
            ],
            "Secret" => &["type"],
            "Namespace" => &["status.phase"],
            "Node" => &["spec.unschedulable"],
            "ReplicaSet" => &["status.replicas"],
            "Job" => &["status.successful"],
            _ => &[],
        };
        Resource {
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            plural: self.plural.to_owned(),
            singular: self.kind.to_lowercase(),
            kind: self.kind.to_owned(),
            short_names: self.short.iter().map(|s| (*s).to_owned()).collect(),
            categories: if self.all { vec!["all".to_owned()] } else { Vec::new() },
            namespaced: self.namespaced,
            shelf: qualified(self.plural, self.group),
            stored_as: api_version,
            has_status: self.status,
            counts_generations: matches!(self.group, "apps" | "batch" | "policy")
                || self.kind == "Pod",
            scale: (self.group == "apps").then(|| ScalePaths {
                spec: "/spec/replicas".to_owned(),
                status: "/status/replicas".to_owned(),
                selector: None,
            }),
            schema,
            shape,
            custom: false,
            columns: Vec::new(),
            fill: self.fill,
            selectable: selectable.iter().map(|s| (*s).to_owned()).collect(),
        }
    }
}

/// Adds all built-in kinds. Returns the shape of object metadata, which custom kinds share.
pub(super) fn fill_catalogue(catalogue: &mut Catalogue) -> Arc<Node> {
    let mut shapes = Shapes::new();
    let metadata = shapes
        .of::<ObjectMeta>()
        .map_or_else(|| Arc::new(Node::default()), |schema| Arc::clone(schema.root()));
    let mut add = |line: Line, schema: Option<Schema>| catalogue.add(line.resource(schema));
    add(
        line("", "v1", "namespaces", "Namespace")
            .short(&["ns"])
            .cluster()
            .status()
            .fill(defaults::namespace),
        shapes.of::<core::Namespace>(),
    );
    add(
        line("", "v1", "pods", "Pod").short(&["po"]).in_all().status().fill(defaults::pod),
        shapes.of::<core::Pod>(),
    );
    add(
        line("", "v1", "events", "Event").short(&["ev"]).fill(defaults::event),
        shapes.of::<core::Event>(),
    );
    add(line("", "v1", "configmaps", "ConfigMap").short(&["cm"]), shapes.of::<core::ConfigMap>());
    add(line("", "v1", "secrets", "Secret").fill(defaults::secret), shapes.of::<core::Secret>());
    add(
        line("", "v1", "services", "Service")
            .short(&["svc"])
            .in_all()
            .status()
            .fill(defaults::service),
        shapes.of::<core::Service>(),
    );
    add(
        line("", "v1", "serviceaccounts", "ServiceAccount").short(&["sa"]),
        shapes.of::<core::ServiceAccount>(),
    );
    add(
        line("", "v1", "resourcequotas", "ResourceQuota").short(&["quota"]).status(),
        shapes.of::<core::ResourceQuota>(),
    );
    add(
        line("", "v1", "nodes", "Node").short(&["no"]).cluster().status(),
        shapes.of::<core::Node>(),
    );
    let deployment = line("apps", "v1", "deployments", "Deployment")
        .short(&["deploy"])
        .in_all()
        .status()
        .fill(defaults::deployment);
    add(deployment, shapes.of::<apps::Deployment>());
    let stateful = line("apps", "v1", "statefulsets", "StatefulSet")
        .short(&["sts"])
        .in_all()
        .status()
        .fill(defaults::stateful_set);
    add(stateful, shapes.of::<apps::StatefulSet>());
    let replica_set = line("apps", "v1", "replicasets", "ReplicaSet")
        .short(&["rs"])
        .in_all()
        .status()
        .fill(defaults::replica_set);
    add(replica_set, shapes.of::<apps::ReplicaSet>());
    add(
        line("batch", "v1", "jobs", "Job").in_all().status().fill(defaults::job),
        shapes.of::<batch::Job>(),
    );
    add(
        line("batch", "v1", "cronjobs", "CronJob")
            .short(&["cj"])
            .in_all()
            .status()
            .fill(defaults::cron_job),
        shapes.of::<batch::CronJob>(),
    );
    let hpa = line("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
        .short(&["hpa"])
        .in_all()
        .status();
    add(hpa.fill(defaults::autoscaler), shapes.of::<autoscaling::HorizontalPodAutoscaler>());
    let disruptions = line("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
        .short(&["pdb"])
        .status()
        .fill(defaults::disruption_budget);
    add(disruptions, shapes.of::<policy::PodDisruptionBudget>());
    add(line("coordination.k8s.io", "v1", "leases", "Lease"), shapes.of::<coordination::Lease>());
    add_special(catalogue, &mut shapes, &metadata);
    metadata
}

/// Definitions of custom kinds, the second face of events, and reviews.
fn add_special(catalogue: &mut Catalogue, shapes: &mut Shapes, metadata: &Arc<Node>) {
    let mut crd =
        line("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
            .short(&["crd", "crds"])
            .cluster()
            .status()
            .resource(None);
    crd.categories = vec!["api-extensions".to_owned()];
    crd.counts_generations = true;
    crd.fill = Some(super::crds::fill);
    crd.shape = super::crds::shape(metadata);
    catalogue.add(crd);
    // The two faces of events are one thing: this one is stored as the core kind and translated.
    let mut events = line("events.k8s.io", "v1", "events", "Event")
        .short(&["ev"])
        .resource(shapes.of::<k8s_openapi::api::events::v1::Event>());
    events.fill = Some(defaults::new_event);
    "events".clone_into(&mut events.shelf);
    "v1".clone_into(&mut events.stored_as);
    catalogue.add(events);
    for (group, version, plural, kind) in [
        ("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        ("authorization.k8s.io", "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview"),
        ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview"),
        ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview"),
    ] {
        catalogue.add(line(group, version, plural, kind).cluster().resource(None));
    }
}
