//! The cloud itself: what exists, what a call changes, what it refuses.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::{
    Call, FOLDER, Faults, Machines, postgres,
    rules::{self, check, find},
};

#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) collection: String,
    pub(super) value: Value,
}

pub(super) struct Operation {
    pub(super) value: Value,
    pub(super) begun: Instant,
    /// How many delays it takes.
    pub(super) delays: u32,
    /// The group whose machines must be healthy before it ends.
    pub(super) judges: Option<String>,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) operations: HashMap<String, Operation>,
    /// The operation of each idempotency key, with the call that it was sent with.
    pub(super) keys: HashMap<String, (String, String)>,
    pub(super) tokens: Vec<String>,
    pub(super) bindings: Vec<Value>,
    /// Who has which role on a service account.
    pub(super) account_bindings: Vec<(String, Value)>,
    pub(super) calls: Vec<Call>,
    pub(super) next: u64,
    pub(super) delay: Duration,
    /// Whether machines take twice as long as all else, and answers say nothing about when to ask again.
    pub(super) own_time: bool,
    pub(super) page: usize,
    pub(super) quotas: BTreeMap<String, usize>,
    /// What the service of quotas says of limits that are not those of a new folder.
    pub(super) limits: BTreeMap<String, u32>,
    pub(super) faults: Option<Faults>,
    /// Machines of groups that a controller would have to make again.
    pub(super) machines: Option<Arc<dyn Machines>>,
    pub(super) most_at_once: usize,
    /// How many more calls about groups do not know yet what their accounts were given.
    pub(super) ignorant: usize,
    /// Whether the next operation fails on its way.
    pub(super) halfway: bool,
    /// Whether the machines of groups fail their health checks: what waits for them does not end then.
    pub(super) unhealthy: bool,
    /// Whether machines that are started get another public address.
    pub(super) moves_at_starts: bool,
}

pub(super) struct Refused(pub(super) u16, pub(super) i64, pub(super) String);

pub(super) type Answer = Result<Value, Refused>;

pub(super) fn invalid(message: impl Into<String>) -> Refused {
    Refused(400, 3, format!("Request validation error: {}", message.into()))
}

pub(super) fn not_found(what: &str, id: &str) -> Refused {
    Refused(404, 5, format!("{what} {id} not found"))
}

pub(super) fn precondition(message: impl Into<String>) -> Refused {
    Refused(400, 9, message.into())
}

/// The collection of public addresses.
pub(super) const ADDRESSES: &str = "/vpc/v1/addresses";

/// Collections, with the kind of id that their objects have and the field of the metadata that names it.
const COLLECTIONS: &[(&str, &str, &str)] = &[
    ("/vpc/v1/networks", "enp", "networkId"),
    ("/vpc/v1/subnets", "e9b", "subnetId"),
    ("/vpc/v1/securityGroups", "enpsg", "securityGroupId"),
    ("/vpc/v1/gateways", "enpgw", "gatewayId"),
    ("/vpc/v1/routeTables", "enprt", "routeTableId"),
    (ADDRESSES, "e9bad", "addressId"),
    ("/compute/v1/disks", "fhmdisk", "diskId"),
    ("/compute/v1/instances", "fhm", "instanceId"),
    ("/compute/v1/instanceGroups", "cl1", "instanceGroupId"),
    ("/iam/v1/serviceAccounts", "aje", "serviceAccountId"),
    ("/load-balancer/v1/networkLoadBalancers", "enplb", "networkLoadBalancerId"),
    ("/load-balancer/v1/targetGroups", "enptg", "targetGroupId"),
    ("/managed-postgresql/v1/clusters", "c9q", "clusterId"),
    ("/container-registry/v1/registries", "crp", "registryId"),
    ("/container-registry/v1/images", "crpimage", "imageId"),
    ("/dns/v1/zones", "dns", "dnsZoneId"),
];

impl World {
    pub(super) fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{:017}", self.next)
    }

    /// A token for a well-formed JWT.
    pub(super) fn token(&mut self, body: &Value) -> Answer {
        let jwt = body["jwt"].as_str().ok_or_else(|| invalid("jwt is required"))?;
        let claims = jwt.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Value = claims.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        if claims["aud"] != "https://iam.api.cloud.yandex.net/iam/v1/tokens" {
            return Err(Refused(401, 16, "The audience of the token is wrong".to_owned()));
        }
        let token = self.id("t1.");
        self.tokens.push(token.clone());
        Ok(json!({ "iamToken": token, "expiresAt": "2099-01-01T00:00:00.123456789Z" }))
    }

    pub(super) fn call(&mut self, call: &Call, query: &BTreeMap<String, String>, fails: bool) -> Answer {
        let path = call.path.as_str();
        if let Some(id) = path.strip_prefix("/operations/") {
            let operation = self.operations.get(id).ok_or_else(|| not_found("Operation", id))?;
            let mut value = operation.value.clone();
            if Instant::now() < operation.begun + self.delay * operation.delays
                || operation.judges.as_ref().is_some_and(|group| self.is_sick(group))
            {
                let fields = value.as_object_mut().unwrap();
                fields.retain(|name, _| !matches!(name.as_str(), "done" | "response" | "error"));
            }
            return Ok(value);
        }
        if let Some(catalogue) = catalogue(path) {
            return Ok(catalogue);
        }
        let method = find(&call.method, path)
            .ok_or_else(|| Refused(501, 12, format!("{} {path} is not in the API", call.method)))?;
        if call.method == "GET" {
            return self.read(&method, path, query);
        }
        let Some(key) = call.key.clone() else { return Err(invalid("Idempotency-Key is missing")) };
        let signature = format!("{} {path} {}", call.method, call.body);
        if let Some((operation, sent)) = self.keys.get(&key) {
            if *sent != signature {
                return Err(invalid("the Idempotency-Key was used for another call"));
            }
            let mut value = self.operations[operation].value.clone();
            if self.operations[operation].judges.as_ref().is_some_and(|group| self.is_sick(group)) {
                let fields = value.as_object_mut().unwrap();
                fields.retain(|name, _| !matches!(name.as_str(), "done" | "response" | "error"));
            }
            return Ok(value);
        }
        let mut fields = match (&call.body, method.takes_body) {
            (Value::Object(fields), true) => fields.clone(),
            (Value::Null, _) => Map::new(),
            _ => return Err(invalid("this call takes no body")),
        };
        fields.extend(method.parts.iter().map(|(name, value)| (name.clone(), json!(value))));
        let update = call.method == "PATCH" && method.rpc == "Update";
        if update && !fields.contains_key("updateMask") {
            return Err(invalid("a call without updateMask would reset every field"));
        }
        let mistakes = check(&method.request, &fields, update);
        if !mistakes.is_empty() {
            return Err(invalid(mistakes.join("; ")));
        }
        if path.starts_with("/compute/") {
            let now = Instant::now();
            let running = self
                .operations
                .values()
                .filter(|o| o.begun + self.delay * o.delays > now && o.value["compute"] == true)
                .count()
                + 1;
            self.most_at_once = self.most_at_once.max(running);
            if running > 15 {
                let message = "The limit on maximum number of active operations has exceeded.";
                return Err(Refused(429, 8, message.to_owned()));
            }
        }
        let (metadata, response) = if fails {
            (json!({}), Err(Refused(200, 13, "Internal error".to_owned())))
        } else {
            let (metadata, response) = self.change(&method, path, &fields)?;
            if std::mem::take(&mut self.halfway) {
                let id = metadata.as_object().unwrap().values().next().unwrap().as_str().unwrap();
                self.objects.get_mut(id).unwrap().value["status"] = "ERROR".into();
                (metadata, Err(Refused(200, 13, "Internal error".to_owned())))
            } else {
                (metadata, Ok(response))
            }
        };
        let id = self.id("op");
        let mut value =
            json!({ "id": id, "metadata": metadata, "done": true, "compute": path.starts_with("/compute/") });
        match response {
            Ok(response) => value["response"] = response,
            Err(Refused(_, code, message)) => value["error"] = json!({ "code": code, "message": message }),
        }
        let group = value["metadata"]["instanceGroupId"].as_str().map(str::to_owned);
        let judges = group.filter(|group| call.method != "DELETE" && self.is_sick(group));
        let unfinished = !self.delay.is_zero() || judges.is_some();
        let operation = Operation { value: value.clone(), begun: Instant::now(), delays: self.delays(path), judges };
        self.operations.insert(id.clone(), operation);
        self.keys.insert(key, (id, signature));
        if unfinished {
            let fields = value.as_object_mut().unwrap();
            fields.retain(|name, _| !matches!(name.as_str(), "done" | "response" | "error"));
        }
        Ok(value)
    }

    /// How many delays a call takes.
    fn delays(&self, path: &str) -> u32 {
        if self.own_time && path == "/compute/v1/instances" { 2 } else { 1 }
    }

    /// Whether the machines of a group are asked whether they work, and do not.
    fn is_sick(&self, group: &str) -> bool {
        let check = |object: &Object| !object.value["healthChecksSpec"].is_null();
        self.unhealthy && self.objects.get(group).is_some_and(check)
    }

    /// The machines of an instance group.
    fn members(&self, group: &str) -> Answer {
        self.objects.get(group).ok_or_else(|| not_found("InstanceGroup", group))?;
        let members = self.objects.values().filter(|object| object.value["groupOf"] == group);
        let usual = if self.is_sick(group) { "CHECKING_HEALTH" } else { "RUNNING_ACTUAL" };
        let members = members.map(|object| {
            let status = object.value["memberStatus"].as_str().unwrap_or(usual);
            json!({
                "id": format!("m{}", object.value["id"].as_str().unwrap()), "status": status,
                "instanceId": object.value["id"], "name": object.value["name"], "fqdn": object.value["fqdn"],
                "networkInterfaces": object.value["networkInterfaces"],
            })
        });
        Ok(json!({ "instances": members.collect::<Vec<_>>() }))
    }

    fn read(&mut self, method: &rules::Method, path: &str, query: &BTreeMap<String, String>) -> Answer {
        let part = |name: &str| method.parts.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        if path.ends_with(":latestByFamily") {
            let family = query.get("family").cloned().unwrap_or_default();
            if query.get("folderId").map(String::as_str) != Some("standard-images") || family.starts_with("no-such") {
                return Err(Refused(404, 5, format!("Image \"{family}\" not found")));
            }
            return Ok(
                json!({ "id": format!("fd8{family}"), "family": family, "status": "READY", "minDiskSize": "1" }),
            );
        }
        if path.ends_with(":listAccessBindings") {
            let place = part("resourceId").unwrap();
            if place == FOLDER {
                return Ok(json!({ "accessBindings": self.bindings }));
            }
            self.exists("ServiceAccount", &json!(place))?;
            let bindings = self.account_bindings.iter().filter(|(id, _)| id == place);
            return Ok(json!({ "accessBindings": bindings.map(|(_, binding)| binding).collect::<Vec<_>>() }));
        }
        if path.starts_with("/resource-manager/v1/folders/") {
            return Ok(json!({ "id": FOLDER, "cloudId": "b1gcloud", "name": "simulated", "status": "ACTIVE" }));
        }
        if path == "/quota-manager/v1/quotaLimits" {
            let machines = self.limits.get("compute.instances.count").copied().unwrap_or(12);
            return Ok(json!({ "quotaLimits": [
                { "quotaId": "vpc.networks.count", "limit": 2.0, "usage": 1.0 },
                { "quotaId": "compute.instances.count", "limit": machines, "usage": 0.0 },
            ] }));
        }
        if method.rpc == "ListInstances" {
            return self.members(part("instanceGroupId").unwrap());
        }
        if let Some(zone) = path.strip_suffix(":listRecordSets").and_then(|path| path.strip_prefix("/dns/v1/zones/")) {
            return Ok(json!({ "recordSets": self.exists("Zone", &json!(zone))?.value["records"] }));
        }
        if method.rpc == "ListUsedAddresses" {
            let subnet = self.exists("Subnet", &json!(part("subnetId").unwrap()))?;
            let used = self.used_addresses(subnet.value["id"].as_str().unwrap());
            // An empty list has no field at all.
            return Ok(if used.is_empty() { json!({}) } else { json!({ "addresses": used }) });
        }
        if let Some(answer) = self.read_cluster(method, path) {
            return answer;
        }
        if method.rpc == "Get" {
            let id = &method.parts[0].1;
            if path.starts_with(ADDRESSES)
                && let Some(address) = self.dynamic_addresses().into_iter().find(|address| address["id"] == **id)
            {
                return Ok(address);
            }
            let object = self.objects.get(id).filter(|object| path.starts_with(&object.collection));
            let object = object.ok_or_else(|| not_found("Object", id))?;
            return Ok(self.viewed(object, query));
        }
        if path == "/container-registry/v1/images" {
            let registry = query.get("registryId").map_or("", String::as_str);
            self.exists("Registry", &json!(registry))?;
            let images = self.objects.values().filter(|object| object.collection == path);
            let images = images.filter(|object| object.value["registryId"] == registry).map(|object| &object.value);
            return Ok(json!({ "images": images.collect::<Vec<_>>() }));
        }
        // A list, page by page; an empty one has no field at all.
        if query.get("folderId").map(String::as_str) != Some(FOLDER) {
            return Err(Refused(403, 7, "Permission denied".to_owned()));
        }
        let size: usize = query.get("pageSize").and_then(|size| size.parse().ok()).unwrap_or(100);
        let from: usize = query.get("pageToken").and_then(|token| token.parse().ok()).unwrap_or(0);
        let mut all: Vec<Value> = self
            .objects
            .values()
            .filter(|object| object.collection == path)
            .map(|object| {
                let mut value = self.viewed(object, query);
                // Lists of machines never show metadata.
                value.as_object_mut().unwrap().remove("metadata");
                value
            })
            .collect();
        if path == ADDRESSES {
            all.extend(self.dynamic_addresses());
        }
        let size = size.min(self.page);
        let page: Vec<Value> = all.iter().skip(from).take(size).cloned().collect();
        let mut value = json!({});
        if !page.is_empty() {
            let key = path.rsplit('/').next().unwrap();
            value[if path.starts_with("/dns/") { "dnsZones" } else { key }] = page.into();
        }
        if from + size < all.len() {
            value["nextPageToken"] = (from + size).to_string().into();
        }
        Ok(value)
    }

    /// Carries out a call: the metadata and the response of its operation.
    #[expect(clippy::too_many_lines, reason = "one case a call")]
    fn change(
        &mut self, method: &rules::Method, path: &str, fields: &Map<String, Value>,
    ) -> Result<(Value, Value), Refused> {
        if path.ends_with(":updateAccessBindings") {
            let place = fields["resourceId"].as_str().unwrap().to_owned();
            if place != FOLDER {
                self.exists("ServiceAccount", &json!(place))?;
            }
            for delta in fields["accessBindingDeltas"].as_array().unwrap() {
                let binding = &delta["accessBinding"];
                if place == FOLDER {
                    self.bindings.retain(|present| present != binding);
                } else {
                    self.account_bindings.retain(|(id, present)| *id != place || present != binding);
                }
                if delta["action"] == "ADD" {
                    let id = binding["subject"]["id"].as_str().unwrap();
                    self.objects.get(id).ok_or_else(|| not_found("Subject", id))?;
                    if place == FOLDER {
                        self.bindings.push(binding.clone());
                    } else {
                        self.account_bindings.push((place.clone(), binding.clone()));
                    }
                }
            }
            return Ok((json!({ "resourceId": place }), json!({})));
        }
        if let Some((collection, prefix, field)) = COLLECTIONS.iter().find(|(collection, ..)| *collection == path) {
            let id = self.id(prefix);
            let value = self.create(collection, &id, fields)?;
            return Ok((json!({ *field: id }), public(&value)));
        }
        if let Some(zone) = path.strip_suffix(":upsertRecordSets").and_then(|path| path.strip_prefix("/dns/v1/zones/"))
        {
            let mut object = self.exists("Zone", &json!(zone))?;
            let domain = object.value["zone"].as_str().unwrap().to_owned();
            let records = object.value["records"].as_array_mut().unwrap();
            for gone in fields.get("deletions").and_then(Value::as_array).into_iter().flatten() {
                let before = records.len();
                records.retain(|record| record != gone);
                if records.len() == before {
                    return Err(not_found("RecordSet", &gone.to_string()));
                }
            }
            for set in fields.get("replacements").and_then(Value::as_array).into_iter().flatten() {
                if !set["name"].as_str().unwrap().ends_with(&domain) {
                    return Err(invalid("a record outside of its zone"));
                }
                records.retain(|record| (&record["name"], &record["type"]) != (&set["name"], &set["type"]));
                records.push(set.clone());
            }
            self.objects.insert(zone.to_owned(), object);
            return Ok((json!({ "dnsZoneId": zone }), json!({})));
        }
        if let Some(changed) = self.change_cluster(method, path, fields) {
            return changed;
        }
        let id = method.parts[0].1.clone();
        if path.starts_with(ADDRESSES)
            && let Some(address) = self.dynamic_addresses().into_iter().find(|address| address["id"] == *id)
        {
            // What is reserved stays when nothing has it any more.
            if fields.get("reserved") != Some(&json!(true)) {
                return Err(precondition("the address goes with what has it"));
            }
            self.objects.insert(id.clone(), Object { collection: ADDRESSES.to_owned(), value: address });
        }
        let object = self.objects.get(&id).filter(|object| path.starts_with(&object.collection)).cloned();
        let object = object.ok_or_else(|| not_found("Object", &id))?;
        let (_, _, field) = COLLECTIONS.iter().find(|(collection, ..)| *collection == object.collection).unwrap();
        let metadata = json!({ *field: id });
        match method.rpc.as_str() {
            "Delete" => {
                self.delete(&id, &object)?;
                Ok((metadata, json!({})))
            }
            "Update" => {
                let value = self.update(&id, object, fields)?;
                Ok((metadata, public(&value)))
            }
            rpc => {
                let mut value = object.value.clone();
                let zone = value["zoneId"].clone();
                // Groups have none.
                let mut none = Value::Null;
                let interface = value.pointer_mut("/networkInterfaces/0").unwrap_or(&mut none);
                match rpc {
                    "Start" => {
                        let status = if object.collection.ends_with("instances") { "RUNNING" } else { "ACTIVE" };
                        let public = interface.pointer_mut("/primaryV4Address/oneToOneNat/address");
                        if let Some(public) = public.filter(|_| self.moves_at_starts) {
                            let last = public.as_str().unwrap().rsplit('.').next().unwrap().parse::<u8>().unwrap();
                            *public = format!("198.51.100.{}", last.wrapping_add(1)).into();
                        }
                        value["status"] = status.into();
                    }
                    "Stop" => value["status"] = "STOPPED".into(),
                    "AddOneToOneNat" => {
                        if interface["primaryV4Address"].get("oneToOneNat").is_some() {
                            return Err(precondition("the interface has a public address already"));
                        }
                        let own = interface["primaryV4Address"]["address"].clone();
                        interface["primaryV4Address"]["oneToOneNat"] =
                            self.nat(&fields["oneToOneNatSpec"], &own, &zone)?;
                    }
                    "RemoveListener" => {
                        let listeners = value["listeners"].as_array_mut().unwrap();
                        let before = listeners.len();
                        listeners.retain(|listener| listener["name"] != fields["listenerName"]);
                        if listeners.len() == before {
                            return Err(not_found("Listener", &fields["listenerName"].to_string()));
                        }
                    }
                    "AddCidrBlocks" => {
                        self.no_overlap(&value["networkId"], &fields["v4CidrBlocks"])?;
                        let added = fields["v4CidrBlocks"].as_array().unwrap().clone();
                        value["v4CidrBlocks"].as_array_mut().unwrap().extend(added);
                    }
                    "RemoveCidrBlocks" => {
                        let gone = fields["v4CidrBlocks"].as_array().unwrap();
                        if !gone.iter().all(|range| value["v4CidrBlocks"].as_array().unwrap().contains(range)) {
                            return Err(invalid("the subnet has no such range"));
                        }
                        if let Some(used) = self.used_in(&id, &fields["v4CidrBlocks"]) {
                            return Err(precondition(format!("CIDR is in use by {used}")));
                        }
                        value["v4CidrBlocks"].as_array_mut().unwrap().retain(|range| !gone.contains(range));
                        if value["v4CidrBlocks"].as_array().unwrap().is_empty() {
                            return Err(invalid("a subnet has at least one range"));
                        }
                    }
                    "ResumeProcesses" => value["status"] = "ACTIVE".into(),
                    "AttachDisk" => {
                        let spec = &fields["attachedDiskSpec"];
                        let disk = self.exists("Disk", &spec["diskId"])?;
                        if disk.value["instanceIds"].as_array().is_some_and(|users| !users.is_empty()) {
                            return Err(precondition("the disk is attached to another machine"));
                        }
                        let id = spec["diskId"].as_str().unwrap();
                        self.objects.get_mut(id).unwrap().value["instanceIds"] = json!([value["id"]]);
                        let attached = json!({ "diskId": id, "deviceName": spec["deviceName"] });
                        value["secondaryDisks"].as_array_mut().unwrap().push(attached);
                    }
                    "DetachDisk" => {
                        let disks = value["secondaryDisks"].as_array_mut().unwrap();
                        let before = disks.len();
                        disks.retain(|disk| disk["diskId"] != fields["diskId"]);
                        if disks.len() == before {
                            return Err(not_found("Disk", &fields["diskId"].to_string()));
                        }
                        let disk = fields["diskId"].as_str().unwrap();
                        self.objects.get_mut(disk).unwrap().value["instanceIds"] = json!([]);
                    }
                    "UpdateMetadata" => {
                        for (name, text) in fields["upsert"].as_object().unwrap() {
                            value["metadata"][name] = text.clone();
                        }
                    }
                    "RemoveOneToOneNat" => {
                        drop(interface["primaryV4Address"].as_object_mut().unwrap().remove("oneToOneNat"));
                    }
                    "UpdateNetworkInterface" => {
                        if fields["updateMask"] != "securityGroupIds" {
                            return Err(invalid("updateMask"));
                        }
                        for group in fields["securityGroupIds"].as_array().unwrap() {
                            self.exists("Security group", group)?;
                        }
                        interface["securityGroupIds"] = fields["securityGroupIds"].clone();
                    }
                    other => {
                        return Err(Refused(501, 12, format!("the simulator has no {other} of {}", method.service)));
                    }
                }
                self.objects.get_mut(&id).unwrap().value = value.clone();
                Ok((metadata, public(&value)))
            }
        }
    }

    pub(super) fn exists(&self, what: &str, id: &Value) -> Result<Object, Refused> {
        let id = id.as_str().unwrap_or_default();
        self.objects.get(id).cloned().ok_or_else(|| not_found(what, id))
    }

    pub(super) fn create(&mut self, collection: &str, id: &str, fields: &Map<String, Value>) -> Result<Value, Refused> {
        if fields.get("folderId").is_some_and(|folder| folder != FOLDER) {
            return Err(Refused(403, 7, "Permission denied".to_owned()));
        }
        let name = fields.get("name").and_then(Value::as_str).unwrap_or_default();
        let of_collection = self.objects.values().filter(|object| object.collection == collection);
        if !name.is_empty() && of_collection.clone().any(|object| object.value["name"] == name) {
            let kind = collection.rsplit('/').next().unwrap();
            return Err(Refused(409, 6, format!("{kind} with name {name} already exists")));
        }
        if self.quotas.get(collection).is_some_and(|most| of_collection.count() >= *most) {
            return Err(Refused(429, 8, "Quota limit vpc.networks.count exceeded".to_owned()));
        }
        for (field, what) in
            [("networkId", "Network"), ("routeTableId", "RouteTable"), ("serviceAccountId", "ServiceAccount")]
        {
            if let Some(reference) = fields.get(field) {
                self.exists(what, reference)?;
            }
        }
        let mut value = Value::Object(fields.clone());
        value["id"] = id.into();
        value["createdAt"] = "2026-01-02T03:04:05Z".into();
        match collection {
            "/vpc/v1/networks" => {
                let group = self.id("enpsg");
                let rules = json!([{ "id": "r1", "direction": "INGRESS", "protocolName": "ANY",
                    "cidrBlocks": { "v4CidrBlocks": ["0.0.0.0/0"] } }]);
                let default = json!({
                    "id": group, "folderId": FOLDER, "networkId": id, "defaultForNetwork": true, "status": "ACTIVE",
                    "name": format!("default-sg-{id}"), "rules": rules,
                });
                self.objects
                    .insert(group.clone(), Object { collection: "/vpc/v1/securityGroups".to_owned(), value: default });
                value["defaultSecurityGroupId"] = group.into();
            }
            "/vpc/v1/subnets" => {
                self.no_overlap(&fields["networkId"], fields.get("v4CidrBlocks").unwrap_or(&Value::Null))?;
            }
            "/vpc/v1/securityGroups" => {
                value["rules"] = value["ruleSpecs"].take();
                value["status"] = "ACTIVE".into();
            }
            "/vpc/v1/gateways" if !fields.contains_key("sharedEgressGatewaySpec") => {
                return Err(invalid("sharedEgressGatewaySpec"));
            }
            "/vpc/v1/gateways" => value["sharedEgressGateway"] = json!({}),
            "/vpc/v1/routeTables" => {
                for route in fields["staticRoutes"].as_array().into_iter().flatten() {
                    self.exists("Gateway", &route["gatewayId"])?;
                }
            }
            ADDRESSES => {
                let zone = value["externalIpv4AddressSpec"].take()["zoneId"].clone();
                let address = format!("203.0.113.{}", self.next % 250 + 1);
                value["externalIpv4Address"] = json!({ "address": address, "zoneId": zone });
                value["reserved"] = true.into();
            }
            "/dns/v1/zones" => {
                for network in
                    fields.get("privateVisibility").and_then(|v| v["networkIds"].as_array()).into_iter().flatten()
                {
                    self.exists("Network", network)?;
                }
                let zone = fields["zone"].clone();
                value["records"] =
                    json!([{ "name": zone, "type": "NS", "ttl": "3600", "data": ["ns1.yandexcloud.net."] }]);
            }
            "/compute/v1/disks" => value["status"] = "READY".into(),
            "/compute/v1/instances" => value = self.instance(id, fields)?,
            "/compute/v1/instanceGroups" => self.group(&mut value)?,
            postgres::CLUSTERS => self.cluster(id, &mut value)?,
            "/load-balancer/v1/networkLoadBalancers" => {
                for group in fields["attachedTargetGroups"].as_array().into_iter().flatten() {
                    self.exists("TargetGroup", &group["targetGroupId"])?;
                }
                value["listeners"] = self.listeners(&fields["listenerSpecs"], &Value::Null)?;
                value.as_object_mut().unwrap().remove("listenerSpecs");
                value["status"] = "ACTIVE".into();
            }
            _ => value["status"] = "ACTIVE".into(),
        }
        self.objects.insert(id.to_owned(), Object { collection: collection.to_owned(), value: value.clone() });
        if collection.ends_with("instanceGroups") {
            let size = size(&value);
            for index in 1..=size {
                self.member(id, index);
            }
        }
        Ok(value)
    }

    /// The listeners of a balancer. Those that ask for no address get a new one, also in an update; otherwise it is one that the
    /// balancer has, or a reserved one that nothing has.
    fn listeners(&mut self, specs: &Value, present: &Value) -> Result<Value, Refused> {
        self.next += 1;
        let new = format!("198.51.100.{}", self.next % 250 + 1);
        let own = |address: &Value| present.as_array().into_iter().flatten().any(|one| one["address"] == *address);
        let listeners = specs.as_array().into_iter().flatten().map(|listener| {
            let asked = &listener["externalAddressSpec"]["address"];
            if !asked.is_null() && !own(asked) {
                self.reserved(asked)?;
                if self.is_used(asked) {
                    return Err(precondition(format!("address {asked} is in use")));
                }
            }
            let address = if asked.is_null() { json!(new) } else { asked.clone() };
            Ok(json!({ "name": listener["name"], "address": address, "port": listener["port"],
                "targetPort": listener["targetPort"], "protocol": listener["protocol"] }))
        });
        listeners.collect()
    }

    fn no_overlap(&self, network: &Value, wanted: &Value) -> Result<(), Refused> {
        let wanted = ranges(wanted).filter(|all| !all.is_empty()).ok_or_else(|| invalid("Cannot parse CIDR"))?;
        let subnets = self.objects.values().filter(|object| object.collection == "/vpc/v1/subnets");
        let others = subnets.filter(|object| object.value["networkId"] == *network);
        let mut known = others.filter_map(|object| ranges(&object.value["v4CidrBlocks"])).flatten();
        let twice = wanted.iter().enumerate().any(|(n, one)| wanted[..n].iter().any(|other| other.overlaps(*one)));
        if twice || known.any(|known| wanted.iter().any(|wanted| known.overlaps(*wanted))) {
            return Err(precondition("CIDR overlaps with another subnet"));
        }
        Ok(())
    }

    /// A machine, from the request or from the template of a group.
    fn instance(&mut self, id: &str, fields: &Map<String, Value>) -> Result<Value, Refused> {
        let spec = &fields["networkInterfaceSpecs"][0];
        let subnet_id = spec.get("subnetId").cloned().unwrap_or_else(|| spec["subnetIds"][0].clone());
        let subnet = self.exists("Subnet", &subnet_id)?;
        if fields.get("zoneId").is_some_and(|zone| *zone != subnet.value["zoneId"]) {
            return Err(Refused(400, 3, "Illegal argument subnet_id.zone_id".to_owned()));
        }
        for group in spec["securityGroupIds"].as_array().into_iter().flatten() {
            let group = self.exists("Security group", group)?;
            if group.value["networkId"] != subnet.value["networkId"] {
                return Err(invalid("a security group of another network"));
            }
        }
        let resources = &fields["resourcesSpec"];
        let number = |field: &str| resources[field].as_str().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
        let (cores, memory, fraction) = (number("cores"), number("memory"), number("coreFraction"));
        let per_core = memory / cores.max(1);
        if per_core < if matches!(fraction, 0 | 100) { 1 << 30 } else { 1 << 29 } {
            return Err(invalid("the specified memory size is not available on this platform"));
        }
        let mut secondary = Vec::new();
        for disk in fields.get("secondaryDiskSpecs").and_then(Value::as_array).into_iter().flatten() {
            let found = self.exists("Disk", &disk["diskId"])?;
            if found.value["zoneId"] != fields["zoneId"] {
                return Err(invalid("a disk in another zone"));
            }
            let users = found.value["instanceIds"].as_array().is_some_and(|users| !users.is_empty());
            if users {
                return Err(precondition("the disk is attached to another machine"));
            }
            self.objects.get_mut(disk["diskId"].as_str().unwrap()).unwrap().value["instanceIds"] = json!([id]);
            secondary.push(json!({ "diskId": disk["diskId"], "deviceName": disk["deviceName"] }));
        }
        let boot = self.id("fhmboot");
        let boot_spec = &fields["bootDiskSpec"];
        let disk = json!({
            "id": boot, "name": "", "folderId": FOLDER, "size": boot_spec["diskSpec"]["size"], "status": "READY",
            "instanceIds": [id], "bootOf": id,
        });
        self.objects.insert(boot.clone(), Object { collection: "/compute/v1/disks".to_owned(), value: disk });
        let hostname = fields["hostname"].as_str().unwrap_or(id).to_owned();
        let user_data = fields["metadata"]["user-data"].as_str().unwrap_or_default();
        let range = subnet.value["v4CidrBlocks"][0].as_str().unwrap();
        let address = match &self.machines {
            Some(machines) => machines.create(id, &hostname, (subnet_id.as_str().unwrap(), range), None, user_data),
            None => {
                let base = range.rsplit_once('.').unwrap().0;
                format!("{base}.{}", self.next % 250 + 3)
            }
        };
        let mut primary = json!({ "address": address });
        if let Some(nat) = spec["primaryV4AddressSpec"].get("oneToOneNatSpec") {
            primary["oneToOneNat"] = self.nat(nat, &json!(address), &subnet.value["zoneId"])?;
        }
        Ok(json!({
            "id": id, "folderId": FOLDER, "createdAt": "2026-01-02T03:04:05Z", "name": fields["name"], "labels": fields["labels"],
            "zoneId": subnet.value["zoneId"], "platformId": fields["platformId"], "status": "RUNNING", "fqdn": hostname,
            "metadata": fields["metadata"],
            "resources": { "memory": memory.to_string(), "cores": cores.to_string(),
                "coreFraction": if fraction == 0 { 100 } else { fraction }.to_string() },
            "bootDisk": { "diskId": boot, "autoDelete": boot_spec.get("autoDelete").unwrap_or(&Value::Bool(false)) },
            "secondaryDisks": secondary,
            "networkInterfaces": [{
                "index": "0", "subnetId": subnet_id, "primaryV4Address": primary,
                "securityGroupIds": spec.get("securityGroupIds").unwrap_or(&json!([])),
            }],
        }))
    }

    /// A public address: any, or a reserved one of the folder. Real machines are reached at their own addresses only.
    fn nat(&mut self, spec: &Value, own: &Value, zone: &Value) -> Result<Value, Refused> {
        let mut given = own.clone();
        if let Some(asked) = spec.get("address") {
            let address = self.reserved(asked)?;
            if address.value["externalIpv4Address"]["zoneId"] != *zone {
                return Err(invalid("the address is in another zone than the machine"));
            }
            if self.is_used(asked) {
                return Err(precondition(format!("address {asked} is in use")));
            }
            if self.machines.is_none() {
                given = asked.clone();
            } else {
                let id = address.value["id"].as_str().unwrap();
                self.objects.get_mut(id).unwrap().value["externalIpv4Address"]["address"] = given.clone();
            }
        } else if self.machines.is_none() {
            self.next += 1;
            given = format!("198.51.100.{}", self.next % 250 + 1).into();
        }
        Ok(json!({ "address": given, "ipVersion": "IPV4" }))
    }

    fn group(&mut self, value: &mut Value) -> Result<(), Refused> {
        if self.ignorant > 0 {
            self.ignorant -= 1;
            return Err(Refused(403, 7, "Permission denied".to_owned()));
        }
        let interface = &value["instanceTemplate"]["networkInterfaceSpecs"][0];
        let subnets: Vec<Object> = interface["subnetIds"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|id| self.exists("Subnet", id))
            .collect::<Result<_, _>>()?;
        for zone in value["allocationPolicy"]["zones"].as_array().into_iter().flatten() {
            if !subnets.iter().any(|subnet| subnet.value["zoneId"] == zone["zoneId"]) {
                return Err(invalid(format!("no subnet of the instance template is in zone {}", zone["zoneId"])));
            }
        }
        let account = &value["serviceAccountId"];
        let has =
            |role: &str| self.bindings.iter().any(|one| one["subject"]["id"] == *account && one["roleId"] == role);
        if !has("compute.editor") {
            return Err(Refused(403, 7, "the service account has no role to manage machines".to_owned()));
        }
        if let Some(own) = value["instanceTemplate"].get("serviceAccountId") {
            self.exists("ServiceAccount", own)?;
            let uses = |(on, one): &(String, Value)| {
                on == own && one["subject"]["id"] == *account && one["roleId"] == "iam.serviceAccounts.user"
            };
            if !self.account_bindings.iter().any(uses) && !has("iam.serviceAccounts.user") {
                return Err(Refused(403, 7, "the service account may not use that of the machines".to_owned()));
            }
        }
        let nat = interface["primaryV4AddressSpec"].get("oneToOneNatSpec");
        if nat.is_some() && !has("vpc.publicAdmin") {
            return Err(Refused(403, 7, "the service account has no role to give public addresses".to_owned()));
        }
        let deploy = &value["deployPolicy"];
        if deploy["maxUnavailable"].as_str().unwrap_or("0") == "0"
            && deploy["maxExpansion"].as_str().unwrap_or("0") == "0"
        {
            return Err(invalid("maxUnavailable and maxExpansion are both 0"));
        }
        let size = size(value).to_string();
        value["status"] = "ACTIVE".into();
        value["managedInstancesState"] = json!({ "targetSize": size, "runningActualCount": size });
        Ok(())
    }

    /// Makes the machine with a number of a group.
    pub(super) fn member(&mut self, group: &str, index: u64) {
        let template = self.objects[group].value["instanceTemplate"].clone();
        let named =
            |field: &str| template[field].as_str().unwrap_or_default().replace("{instance.index}", &index.to_string());
        let mut fields = template.as_object().unwrap().clone();
        let zones = self.objects[group].value["allocationPolicy"]["zones"].as_array().unwrap().clone();
        let zone = &zones[usize::try_from(index - 1).unwrap() % zones.len()]["zoneId"];
        let subnets = template["networkInterfaceSpecs"][0]["subnetIds"].as_array().unwrap();
        let subnet = subnets.iter().find(|id| self.objects[id.as_str().unwrap()].value["zoneId"] == *zone).unwrap();
        fields["networkInterfaceSpecs"][0]["subnetIds"] = json!([subnet]);
        fields.insert("name".to_owned(), named("name").into());
        fields.insert("hostname".to_owned(), named("hostname").into());
        let id = self.id("fhm");
        let Ok(mut value) = self.instance(&id, &fields) else { panic!("a template that no machine can be made of") };
        value["groupOf"] = group.into();
        value["index"] = index.into();
        self.objects.insert(id, Object { collection: "/compute/v1/instances".to_owned(), value });
    }

    fn update(&mut self, id: &str, mut object: Object, fields: &Map<String, Value>) -> Result<Value, Refused> {
        for field in fields["updateMask"].as_str().unwrap_or_default().split(',') {
            let given =
                fields.get(field).cloned().ok_or_else(|| invalid(format!("{field} is in the mask, but not sent")))?;
            match (object.collection.as_str(), field) {
                ("/vpc/v1/securityGroups", "ruleSpecs") => object.value["rules"] = given,
                ("/load-balancer/v1/networkLoadBalancers", "listenerSpecs") => {
                    object.value["listeners"] = self.listeners(&given, &object.value["listeners"])?;
                }
                (_, "attachedTargetGroups") => {
                    for group in given.as_array().into_iter().flatten() {
                        self.exists("TargetGroup", &group["targetGroupId"])?;
                    }
                    object.value[field] = given;
                }
                (_, "staticRoutes") => {
                    for route in given.as_array().into_iter().flatten() {
                        self.exists("Gateway", &route["gatewayId"])?;
                    }
                    object.value[field] = given;
                }
                (_, "routeTableId") => {
                    self.exists("RouteTable", &given)?;
                    object.value[field] = given;
                }
                ("/compute/v1/instances", "resourcesSpec" | "platformId") => {
                    if object.value["status"] != "STOPPED" {
                        return Err(precondition("the machine must be stopped"));
                    }
                    if field == "platformId" {
                        object.value["platformId"] = given;
                    } else {
                        object.value["resources"] = given;
                    }
                }
                ("/compute/v1/disks", "size") => {
                    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
                    if number(&given) < number(&object.value["size"]) {
                        return Err(invalid("a disk cannot become smaller"));
                    }
                    object.value["size"] = given;
                }
                _ => object.value[field] = given,
            }
        }
        if object.collection.ends_with("instanceGroups") {
            for field in ["instanceTemplate", "scalePolicy", "deployPolicy", "allocationPolicy"] {
                if !fields.contains_key(field) {
                    return Err(invalid(format!("{field} is required")));
                }
            }
            let mut checked = object.value.clone();
            self.group(&mut checked)?;
            let renewed = self.objects[id].value["instanceTemplate"] != object.value["instanceTemplate"];
            self.resize(id, &mut object.value, renewed);
        }
        self.objects.insert(id.to_owned(), object.clone());
        Ok(object.value)
    }

    /// Makes as many machines as a group has; another template makes all of them again.
    pub(super) fn resize(&mut self, id: &str, value: &mut Value, renewed: bool) {
        let wanted = size(value);
        value["managedInstancesState"] =
            json!({ "targetSize": wanted.to_string(), "runningActualCount": wanted.to_string() });
        self.objects.get_mut(id).unwrap().value = value.clone();
        let members: Vec<(String, u64)> = self
            .objects
            .iter()
            .filter(|(_, object)| object.value["groupOf"] == id)
            .map(|(id, object)| (id.clone(), object.value["index"].as_u64().unwrap()))
            .collect();
        for (member, _) in members.iter().filter(|(_, index)| renewed || *index > wanted) {
            let object = self.objects.remove(member).unwrap();
            self.destroyed(member, &object);
        }
        let there = |index: &u64| !renewed && members.iter().any(|(_, present)| present == index);
        for index in (1..=wanted).filter(|index| !there(index)) {
            self.member(id, index);
        }
    }

    fn delete(&mut self, id: &str, object: &Object) -> Result<(), Refused> {
        let users: Vec<String> = self
            .objects
            .iter()
            .filter(|(other, o)| *other != id && o.value["defaultForNetwork"] != true && o.value["bootOf"] != id)
            .filter(|(_, other)| other.value["groupOf"] != id && refers(&other.value, id))
            .filter(|(_, other)| {
                !(object.collection == "/compute/v1/instances" && other.collection == "/compute/v1/disks")
            })
            .map(|(other, _)| other.clone())
            .collect();
        if let Some(user) = users.first() {
            let kind = object.collection.rsplit('/').next().unwrap();
            return Err(precondition(format!("{kind} {id} is not empty: it is used by {user}")));
        }
        if object.collection == ADDRESSES && self.is_used(&object.value["externalIpv4Address"]["address"]) {
            return Err(precondition(format!("address {id} is in use")));
        }
        if object.value["groupOf"].is_string() {
            return Err(precondition("the machine belongs to a group"));
        }
        let on_accounts = self.account_bindings.iter().map(|(_, binding)| binding);
        let has_roles = self.bindings.iter().chain(on_accounts).any(|binding| binding["subject"]["id"] == id);
        if object.collection.ends_with("serviceAccounts") && has_roles {
            // The real service leaves such bindings behind: here it is a mistake.
            return Err(precondition("the account still has roles"));
        }
        if object.collection.ends_with("instanceGroups") {
            let account = &object.value["serviceAccountId"];
            if !self.bindings.iter().any(|binding| binding["subject"]["id"] == *account) {
                return Err(Refused(403, 7, "the service account has no role to remove its machines".to_owned()));
            }
            let members: Vec<String> =
                self.objects.iter().filter(|(_, o)| o.value["groupOf"] == id).map(|(id, _)| id.clone()).collect();
            for member in members {
                let object = self.objects.remove(&member).unwrap();
                self.destroyed(&member, &object);
            }
        }
        self.objects.remove(id);
        self.destroyed(id, object);
        Ok(())
    }

    /// What goes with an object.
    pub(super) fn destroyed(&mut self, id: &str, object: &Object) {
        match object.collection.as_str() {
            "/iam/v1/serviceAccounts" => self.account_bindings.retain(|(on, _)| on != id),
            "/vpc/v1/networks" => self
                .objects
                .retain(|_, other| !(other.value["defaultForNetwork"] == true && other.value["networkId"] == id)),
            "/compute/v1/instances" => {
                if object.value["bootDisk"]["autoDelete"] == true || object.value["groupOf"].is_string() {
                    self.objects.remove(object.value["bootDisk"]["diskId"].as_str().unwrap());
                }
                for disk in self.objects.values_mut().filter(|other| other.value["instanceIds"] == json!([id])) {
                    disk.value["instanceIds"] = json!([]);
                }
                if let Some(machines) = &self.machines {
                    machines.delete(id);
                }
            }
            postgres::CLUSTERS => {
                if let Some(machines) = &self.machines {
                    machines.delete(id);
                }
            }
            "/vpc/v1/subnets" => {
                if let Some(machines) = &self.machines {
                    machines.delete_subnet(id);
                }
            }
            _ => {}
        }
    }
}

/// What the cloud has for all folders.
fn catalogue(path: &str) -> Option<Value> {
    let (key, ids): (&str, &[&str]) = match path {
        "/compute/v1/zones" => ("zones", &["ru-central1-a", "ru-central1-b", "ru-central1-d"]),
        "/compute/v1/diskTypes" => ("diskTypes", &["network-hdd", "network-ssd", "network-ssd-nonreplicated"]),
        "/iam/v1/roles" => {
            ("roles", &["viewer", "editor", "admin", "compute.editor", "vpc.user", "container-registry.images.puller"])
        }
        "/managed-postgresql/v1/resourcePresets" => {
            ("resourcePresets", &["c3-c2-m4", "s3-c2-m8", "c3-c4-m8", "s3-c4-m16", "s3-c8-m32"])
        }
        _ => return None,
    };
    Some(json!({ key: ids.iter().map(|id| json!({ "id": id })).collect::<Vec<_>>() }))
}

/// The ranges of a list.
pub(super) fn ranges(value: &Value) -> Option<Vec<infra::config::Cidr>> {
    value.as_array()?.iter().map(|one| one.as_str()?.parse().ok()).collect()
}

fn size(group: &Value) -> u64 {
    group["scalePolicy"]["fixedScale"]["size"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Whether an object names an id anywhere.
fn refers(value: &Value, id: &str) -> bool {
    match value {
        Value::String(text) => text == id,
        Value::Array(items) => items.iter().any(|item| refers(item, id)),
        Value::Object(fields) => fields.values().any(|field| refers(field, id)),
        _ => false,
    }
}

/// An object as an answer shows it: without what only the simulator knows.
pub(super) fn public(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|name, value| {
            let hidden = [
                "groupOf",
                "memberStatus",
                "index",
                "bootOf",
                "ruleSpecs",
                "sharedEgressGatewaySpec",
                "users",
                "databases",
                "hostSpecs",
                "hosts",
                "records",
            ];
            !hidden.contains(&name.as_str()) && *value != json!(false) && !value.is_null()
        });
    }
    value
}
