--
-- PostgreSQL database dump
--


-- Dumped from database version 15.18 (Debian 15.18-0+deb12u1)
-- Dumped by pg_dump version 15.18 (Debian 15.18-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: alembic_version; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);


--
-- Name: attachment; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.attachment (
    server character varying NOT NULL,
    disk character varying NOT NULL,
    "position" integer NOT NULL
);


--
-- Name: disk; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.disk (
    name character varying NOT NULL,
    project character varying NOT NULL,
    version integer NOT NULL,
    create_time timestamp without time zone NOT NULL,
    update_time timestamp without time zone NOT NULL,
    display_name character varying NOT NULL,
    role character varying NOT NULL,
    state character varying NOT NULL,
    size_bytes bigint NOT NULL,
    shared boolean NOT NULL,
    folder character varying NOT NULL,
    base character varying NOT NULL,
    source_image character varying NOT NULL,
    source_image_disk character varying NOT NULL,
    host character varying NOT NULL,
    tracked_backup character varying NOT NULL,
    error bytea
);


--
-- Name: ended_hold; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.ended_hold (
    hold_id character varying NOT NULL,
    server character varying NOT NULL
);


--
-- Name: freeze; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public."freeze" (
    server character varying NOT NULL,
    freeze_id character varying NOT NULL,
    backup character varying NOT NULL,
    state character varying NOT NULL,
    answer bytea NOT NULL,
    create_time timestamp without time zone NOT NULL
);


--
-- Name: host; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.host (
    name character varying NOT NULL,
    data_dir character varying NOT NULL,
    capacity_bytes bigint NOT NULL,
    free_bytes bigint NOT NULL,
    seen double precision NOT NULL
);


--
-- Name: image_hold; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.image_hold (
    server character varying NOT NULL,
    image character varying NOT NULL,
    hold_id character varying DEFAULT ''::character varying NOT NULL
);


--
-- Name: operation; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operation (
    id character varying NOT NULL,
    project character varying NOT NULL,
    verb character varying NOT NULL,
    target character varying NOT NULL,
    queue character varying NOT NULL,
    request bytea NOT NULL,
    state character varying NOT NULL,
    ended boolean NOT NULL,
    epoch integer NOT NULL,
    worker character varying NOT NULL,
    lease_until double precision NOT NULL,
    not_before double precision NOT NULL,
    cancel_requested boolean NOT NULL,
    failures integer NOT NULL,
    retries integer NOT NULL,
    last_retry_reason character varying NOT NULL,
    step character varying NOT NULL,
    progress bytea NOT NULL,
    error bytea,
    response bytea,
    create_time timestamp without time zone NOT NULL,
    update_time timestamp without time zone NOT NULL,
    end_time timestamp without time zone,
    parent character varying DEFAULT ''::character varying NOT NULL
);


--
-- Name: operation_step; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operation_step (
    operation_id character varying NOT NULL,
    name character varying NOT NULL,
    result bytea NOT NULL
);


--
-- Name: operation_use; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.operation_use (
    resource character varying NOT NULL,
    operation_id character varying NOT NULL,
    exclusive boolean NOT NULL
);


--
-- Name: request_replay; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.request_replay (
    project character varying NOT NULL,
    method character varying NOT NULL,
    request_id character varying NOT NULL,
    body_digest bytea NOT NULL,
    answer bytea NOT NULL,
    create_time timestamp without time zone NOT NULL
);


--
-- Name: server; Type: TABLE; Schema: public; Owner: -
--

CREATE TABLE public.server (
    name character varying NOT NULL,
    project character varying NOT NULL,
    version integer NOT NULL,
    create_time timestamp without time zone NOT NULL,
    update_time timestamp without time zone NOT NULL,
    display_name character varying NOT NULL,
    description character varying NOT NULL,
    state character varying NOT NULL,
    image character varying NOT NULL,
    host character varying NOT NULL,
    frozen_for character varying NOT NULL,
    freeze_id character varying NOT NULL,
    leave_stopped boolean NOT NULL,
    error bytea
);


--
-- Data for Name: alembic_version; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.alembic_version VALUES ('0006');


--
-- Data for Name: attachment; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.attachment VALUES ('projects/golden/servers/web', 'projects/golden/disks/web-system', 0);
INSERT INTO public.attachment VALUES ('projects/golden/servers/web', 'projects/golden/disks/web-data-1', 1);
INSERT INTO public.attachment VALUES ('projects/golden/servers/copy', 'projects/golden/disks/copy-system', 0);
INSERT INTO public.attachment VALUES ('projects/golden/servers/copy', 'projects/golden/disks/copy-data-1', 1);


--
-- Data for Name: disk; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.disk VALUES ('projects/golden/disks/web-system', 'golden', 5, '2026-11-29 02:48:58.754245', '2026-11-29 02:48:59.872567', 'web-system', 'SYSTEM', 'IN_USE', 25168384, false, '62299008-10eb-467d-bb06-1ea0bebdd52a', '78a9a0ed0e82e66ba5164b1e524f62ff9b665b279c33ab3b325516f6d3469f0b', 'projects/golden/images/sys', 'system', 'local', 'projects/golden/backups/gone', NULL);
INSERT INTO public.disk VALUES ('projects/golden/disks/web-data-1', 'golden', 5, '2026-11-29 02:48:58.757775', '2026-11-29 02:48:59.873221', 'media', 'DATA', 'IN_USE', 2098688, false, '73d54b61-a68e-4cc6-a6b4-d6495ab3df98', '62e87a4a9bca9d82b7e85f5f86802e5db0e8818784f9062143c4d78db0559387', 'projects/golden/images/media', 'data-1', 'local', 'projects/golden/backups/gone', NULL);
INSERT INTO public.disk VALUES ('projects/golden/disks/loose', 'golden', 2, '2026-11-29 02:48:58.935406', '2026-11-29 02:48:58.961594', 'loose', 'DATA', 'AVAILABLE', 1048576, false, '11085639-c84c-481d-8e1b-bdb31be19e08', '', '', '', 'local', '', NULL);
INSERT INTO public.disk VALUES ('projects/golden/disks/copy-system', 'golden', 2, '2026-11-29 02:48:59.572027', '2026-11-29 02:48:59.670372', 'copy-system', 'SYSTEM', 'IN_USE', 25168384, false, '606c56a2-45d3-42ec-8511-c23dd21be868', '07f64e30cc537f8ef21a5e9b6f192c55a2cff5e89d7318a2e95acc4a5d78fd16', 'projects/golden/images/web', 'system', 'local', '', NULL);
INSERT INTO public.disk VALUES ('projects/golden/disks/copy-data-1', 'golden', 2, '2026-11-29 02:48:59.573052', '2026-11-29 02:48:59.670648', 'media', 'DATA', 'IN_USE', 2098688, false, '6a5c81a9-c671-4f05-9413-b497a265b6de', '77fc906f1dba83d34412dcdc5dc8d24de1dfe63fea27824651bf4d9ae3f60eba', 'projects/golden/images/web', 'data-1', 'local', '', NULL);


--
-- Data for Name: ended_hold; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: freeze; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public."freeze" VALUES ('projects/golden/servers/web', 'b62feb9e-475d-4ea9-8859-f21a38fe8abe', 'projects/golden/backups/first', 'THAWED', '\x0a0b089ba5aed80610f0e6992912350a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d1001220a7765622d73797374656d288094800c12320a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d311002180122056d6564696128808c8001', '2026-11-29 02:48:59.044389');
INSERT INTO public."freeze" VALUES ('projects/golden/servers/web', '9670f843-a0df-42a3-8b59-47943c721498', 'projects/golden/backups/second', 'THAWED', '\x0a0c089ba5aed80610e8b4a0970112540a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d1001220a7765622d73797374656d288094800c3a1d70726f6a656374732f676f6c64656e2f6261636b7570732f666972737412510a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d311002180122056d6564696128808c80013a1d70726f6a656374732f676f6c64656e2f6261636b7570732f6669727374', '2026-11-29 02:48:59.280285');
INSERT INTO public."freeze" VALUES ('projects/golden/servers/web', 'a73e3168-f630-4c9c-9cff-04b316319c8f', 'projects/golden/backups/gone', 'THAWED', '\x0a0c089ba5aed80610d09f99df0212550a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d1001220a7765622d73797374656d288094800c3a1e70726f6a656374732f676f6c64656e2f6261636b7570732f7365636f6e6412520a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d311002180122056d6564696128808c80013a1e70726f6a656374732f676f6c64656e2f6261636b7570732f7365636f6e64', '2026-11-29 02:48:59.701186');
INSERT INTO public."freeze" VALUES ('projects/golden/servers/web', '1c9a76c2-1782-4810-9b93-c8d54fdbfd12', 'projects/golden/backups/pending', 'FROZEN', '\x0a0c089ca5aed80610b8b7f58a0112530a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d1001220a7765622d73797374656d288094800c3a1c70726f6a656374732f676f6c64656e2f6261636b7570732f676f6e6512500a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d311002180122056d6564696128808c80013a1c70726f6a656374732f676f6c64656e2f6261636b7570732f676f6e65', '2026-11-29 02:49:00.251599');


--
-- Data for Name: host; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.host VALUES ('local', '/tmp/golden-7sk_gajt/stack/data/ecs', 270553174016, 84526112768, 1795920538.1180139);


--
-- Data for Name: image_hold; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: operation; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.operation VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'golden', 'CreateServers', 'projects/golden/servers/web', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'unpin projects/golden/images/sys', '\x2864', NULL, '\x0a35747970652e676f6f676c65617069732e636f6d2f7265636173742e6563732e76312e43726561746553657276657273526573756c7412260a240a1b70726f6a656374732f676f6c64656e2f736572766572732f7765621a056c6f63616c', '2026-11-29 02:48:58.758541', '2026-11-29 02:48:58.914897', '2026-11-29 02:48:58.914746', '');
INSERT INTO public.operation VALUES ('113a2c86-a194-49e5-8319-a96645d1174b', 'golden', 'CreateDisk', 'projects/golden/disks/loose', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'made', '\x2864', NULL, '\x0a26747970652e676f6f676c65617069732e636f6d2f7265636173742e6563732e76312e4469736b12640a1b70726f6a656374732f676f6c64656e2f6469736b732f6c6f6f736512056c6f6f7365180220022880804052056c6f63616c6a0c089aa5aed80610b0d384be03720c089aa5aed806109085c3ca037a13313739353932303533382e3933353430362d32', '2026-11-29 02:48:58.936139', '2026-11-29 02:48:58.966686', '2026-11-29 02:48:58.966541', '');
INSERT INTO public.operation VALUES ('71ddc72d-25e4-45d7-89c6-20f4a8f590d9', 'golden', 'ExportDisks', 'projects/golden/servers/web', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'export projects/golden/disks/web-data-1', '\x2864', NULL, '\x0a33747970652e676f6f676c65617069732e636f6d2f7265636173742e6563732e76312e4578706f72744469736b73526573756c741290020a86010a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d124f0a2b62363266656239652d343735642d346561392d383835392d6632316133386665386162652d73797374656d1220305bdb47f92ab700a69af5d34083eaeb244f48786d94d31388b5cee19f8b1148188094800c2080948003288094800330f1bd0a0a84010a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d31124f0a2b62363266656239652d343735642d346561392d383835392d6632316133386665386162652d646174612d3112208d88eb57b7693cc2735f935911e07e4ddee5ab58d689f26046c8f091b840513218808c8001208080402880804030a68020', '2026-11-29 02:48:59.118412', '2026-11-29 02:48:59.180257', '2026-11-29 02:48:59.18005', '');
INSERT INTO public.operation VALUES ('daf0022f-15ea-4de8-a602-f016dc54c71d', 'golden', 'ThawServer', 'projects/golden/servers/web', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'end', '\x2864', NULL, '\x0a29747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e456d707479', '2026-11-29 02:48:59.194667', '2026-11-29 02:48:59.216803', '2026-11-29 02:48:59.216672', '');
INSERT INTO public.operation VALUES ('5598794b-0f98-4882-8785-973728c15b78', 'golden', 'ExportDisks', 'projects/golden/servers/web', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'export projects/golden/disks/web-data-1', '\x2864', NULL, '\x0a33747970652e676f6f676c65617069732e636f6d2f7265636173742e6563732e76312e4578706f72744469736b73526573756c741290020a85010a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d124f0a2b39363730663834332d613064662d343261332d386235392d3437393433633732313439382d73797374656d122007f64e30cc537f8ef21a5e9b6f192c55a2cff5e89d7318a2e95acc4a5d78fd16188094800c208094c00328808040303738010a85010a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d31124f0a2b39363730663834332d613064662d343261332d386235392d3437393433633732313439382d646174612d31122077fc906f1dba83d34412dcdc5dc8d24de1dfe63fea27824651bf4d9ae3f60eba18808c800120808080012880804030373801', '2026-11-29 02:48:59.333806', '2026-11-29 02:48:59.418043', '2026-11-29 02:48:59.417861', '');
INSERT INTO public.operation VALUES ('bb7223cf-45ec-4cea-b877-3b4c5e246a2d', 'golden', 'ThawServer', 'projects/golden/servers/web', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'end', '\x2864', NULL, '\x0a29747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e456d707479', '2026-11-29 02:48:59.430766', '2026-11-29 02:48:59.484353', '2026-11-29 02:48:59.484207', '');
INSERT INTO public.operation VALUES ('54cf3a12-c73b-4278-a8f6-f4df19fe6b6b', 'golden', 'CreateServers', 'projects/golden/servers/copy', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'unpin projects/golden/images/web', '\x2864', NULL, '\x0a35747970652e676f6f676c65617069732e636f6d2f7265636173742e6563732e76312e43726561746553657276657273526573756c7412270a250a1c70726f6a656374732f676f6c64656e2f736572766572732f636f70791a056c6f63616c', '2026-11-29 02:48:59.573863', '2026-11-29 02:48:59.679727', '2026-11-29 02:48:59.679585', '');
INSERT INTO public.operation VALUES ('92f92bac-1fe9-4dfe-af61-5f42666736b2', 'golden', 'ExportDisks', 'projects/golden/servers/web', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'export projects/golden/disks/web-data-1', '\x2864', NULL, '\x0a33747970652e676f6f676c65617069732e636f6d2f7265636173742e6563732e76312e4578706f72744469736b73526573756c741282020a7f0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d124f0a2b61373365333136382d663633302d346339632d396366662d3034623331363331396338662d73797374656d122007f64e30cc537f8ef21a5e9b6f192c55a2cff5e89d7318a2e95acc4a5d78fd16188094800c208094c00338010a7f0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d31124f0a2b61373365333136382d663633302d346339632d396366662d3034623331363331396338662d646174612d31122077fc906f1dba83d34412dcdc5dc8d24de1dfe63fea27824651bf4d9ae3f60eba18808c800120808080013801', '2026-11-29 02:48:59.752374', '2026-11-29 02:48:59.810838', '2026-11-29 02:48:59.810657', '');
INSERT INTO public.operation VALUES ('c75c7f6d-ae24-4a5b-9886-90fcd6baca4b', 'golden', 'ThawServer', 'projects/golden/servers/web', 'local', '\x', 'SUCCEEDED', true, 1, 'f6aec031-4815-4074-b4bd-3e0d88b52ec2', 0, 0, false, 0, 0, '', 'end', '\x2864', NULL, '\x0a29747970652e676f6f676c65617069732e636f6d2f676f6f676c652e70726f746f6275662e456d707479', '2026-11-29 02:48:59.826647', '2026-11-29 02:48:59.877342', '2026-11-29 02:48:59.877194', '');


--
-- Data for Name: operation_step; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'images', '\x5b2270726f6a656374732f676f6c64656e2f696d616765732f6d65646961222c202270726f6a656374732f676f6c64656e2f696d616765732f737973225d');
INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'pin projects/golden/images/media', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'pin projects/golden/images/sys', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'disks', '\x7b7d');
INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', ':decided', '\x74727565');
INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'up', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'unpin projects/golden/images/media', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('708ec4fb-0144-4831-9ef7-aa8c7b548ec9', 'unpin projects/golden/images/sys', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('113a2c86-a194-49e5-8319-a96645d1174b', ':decided', '\x74727565');
INSERT INTO public.operation_step VALUES ('113a2c86-a194-49e5-8319-a96645d1174b', 'made', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('71ddc72d-25e4-45d7-89c6-20f4a8f590d9', 'export projects/golden/disks/web-system', '\x0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d124f0a2b62363266656239652d343735642d346561392d383835392d6632316133386665386162652d73797374656d1220305bdb47f92ab700a69af5d34083eaeb244f48786d94d31388b5cee19f8b1148188094800c2080948003288094800330f1bd0a');
INSERT INTO public.operation_step VALUES ('71ddc72d-25e4-45d7-89c6-20f4a8f590d9', 'export projects/golden/disks/web-data-1', '\x0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d31124f0a2b62363266656239652d343735642d346561392d383835392d6632316133386665386162652d646174612d3112208d88eb57b7693cc2735f935911e07e4ddee5ab58d689f26046c8f091b840513218808c8001208080402880804030a68020');
INSERT INTO public.operation_step VALUES ('daf0022f-15ea-4de8-a602-f016dc54c71d', 'thaw projects/golden/disks/web-system', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('daf0022f-15ea-4de8-a602-f016dc54c71d', 'thaw projects/golden/disks/web-data-1', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('daf0022f-15ea-4de8-a602-f016dc54c71d', 'end', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('5598794b-0f98-4882-8785-973728c15b78', 'export projects/golden/disks/web-system', '\x0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d124f0a2b39363730663834332d613064662d343261332d386235392d3437393433633732313439382d73797374656d122007f64e30cc537f8ef21a5e9b6f192c55a2cff5e89d7318a2e95acc4a5d78fd16188094800c208094c0032880804030373801');
INSERT INTO public.operation_step VALUES ('5598794b-0f98-4882-8785-973728c15b78', 'export projects/golden/disks/web-data-1', '\x0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d31124f0a2b39363730663834332d613064662d343261332d386235392d3437393433633732313439382d646174612d31122077fc906f1dba83d34412dcdc5dc8d24de1dfe63fea27824651bf4d9ae3f60eba18808c800120808080012880804030373801');
INSERT INTO public.operation_step VALUES ('bb7223cf-45ec-4cea-b877-3b4c5e246a2d', 'thaw projects/golden/disks/web-system', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('bb7223cf-45ec-4cea-b877-3b4c5e246a2d', 'thaw projects/golden/disks/web-data-1', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('bb7223cf-45ec-4cea-b877-3b4c5e246a2d', 'end', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('54cf3a12-c73b-4278-a8f6-f4df19fe6b6b', 'images', '\x5b2270726f6a656374732f676f6c64656e2f696d616765732f776562225d');
INSERT INTO public.operation_step VALUES ('54cf3a12-c73b-4278-a8f6-f4df19fe6b6b', 'pin projects/golden/images/web', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('54cf3a12-c73b-4278-a8f6-f4df19fe6b6b', 'disks', '\x7b7d');
INSERT INTO public.operation_step VALUES ('54cf3a12-c73b-4278-a8f6-f4df19fe6b6b', ':decided', '\x74727565');
INSERT INTO public.operation_step VALUES ('54cf3a12-c73b-4278-a8f6-f4df19fe6b6b', 'up', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('54cf3a12-c73b-4278-a8f6-f4df19fe6b6b', 'unpin projects/golden/images/web', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('92f92bac-1fe9-4dfe-af61-5f42666736b2', 'export projects/golden/disks/web-system', '\x0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d124f0a2b61373365333136382d663633302d346339632d396366662d3034623331363331396338662d73797374656d122007f64e30cc537f8ef21a5e9b6f192c55a2cff5e89d7318a2e95acc4a5d78fd16188094800c208094c0033801');
INSERT INTO public.operation_step VALUES ('92f92bac-1fe9-4dfe-af61-5f42666736b2', 'export projects/golden/disks/web-data-1', '\x0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d31124f0a2b61373365333136382d663633302d346339632d396366662d3034623331363331396338662d646174612d31122077fc906f1dba83d34412dcdc5dc8d24de1dfe63fea27824651bf4d9ae3f60eba18808c800120808080013801');
INSERT INTO public.operation_step VALUES ('c75c7f6d-ae24-4a5b-9886-90fcd6baca4b', 'thaw projects/golden/disks/web-system', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('c75c7f6d-ae24-4a5b-9886-90fcd6baca4b', 'thaw projects/golden/disks/web-data-1', '\x6e756c6c');
INSERT INTO public.operation_step VALUES ('c75c7f6d-ae24-4a5b-9886-90fcd6baca4b', 'end', '\x6e756c6c');


--
-- Data for Name: operation_use; Type: TABLE DATA; Schema: public; Owner: -
--



--
-- Data for Name: request_replay; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.CreateServersRequest', '561ae71d869a487687084bf2f4fa0673', '\x2469a859ec152d1594193133bb8722d825c3226c52275e773715551e03994a16', '\x0aed010a1b70726f6a656374732f676f6c64656e2f736572766572732f776562120377656220012a1a70726f6a656374732f676f6c64656e2f696d616765732f737973323a0a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d73797374656d100122037664612a0a7765622d73797374656d308094800c32370a2070726f6a656374732f676f6c64656e2f6469736b732f7765622d646174612d311002180122037664622a056d6564696130808c80013a056c6f63616c5a0c089aa5aed80610c8e08ee502620c089aa5aed80610c8e08ee5026a13313739353932303533382e3734383932352d3112cd010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f37303865633466622d303134342d343833312d396566372d6161386337623534386563391289010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d65746164617461124a0a0d43726561746553657276657273121b70726f6a656374732f676f6c64656e2f736572766572732f7765621801620c089aa5aed80610c8d5d9e9026a0c089aa5aed80610c8d5d9e902', '2026-11-29 02:48:58.763841');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.CreateDiskRequest', 'bbea36ac66ee442083f0166495e9fb7c', '\x50d84fec8e8954d5465465204dfbd67a32dcfb5cb7f8ca36abaf1539be428e9b', '\x0a640a1b70726f6a656374732f676f6c64656e2f6469736b732f6c6f6f736512056c6f6f7365180220012880804052056c6f63616c6a0c089aa5aed80610b0d384be03720c089aa5aed80610b0d384be037a13313739353932303533382e3933353430362d3112ca010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f31313361326338362d613139342d343965352d383331392d6139363634356431313734621286010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d6574616461746112470a0a4372656174654469736b121b70726f6a656374732f676f6c64656e2f6469736b732f6c6f6f73651801620c089aa5aed80610f8b1b1be036a0c089aa5aed80610f8b1b1be03', '2026-11-29 02:48:58.938239');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.ExportDisksRequest', 'b62feb9e-475d-4ea9-8859-f21a38fe8abe-export', '\x9409ee701f0545773098cbbffae8a1edfe1b72dd79ab843dee5a978d4bb17acb', '\x0ac9010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f37316464633732642d323565342d343564372d383963362d3230663461386635393064391285010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d6574616461746112460a0b4578706f72744469736b73121b70726f6a656374732f676f6c64656e2f736572766572732f7765621801620b089ba5aed80610e0a5bb386a0b089ba5aed80610e0a5bb38', '2026-11-29 02:48:59.118719');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.ThawServerRequest', 'b62feb9e-475d-4ea9-8859-f21a38fe8abe-thaw', '\x6f3b8b23857532defce202dd9e24fabcf3d23a6782396769ebef125f0c08dc35', '\x0ac8010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f64616630303232662d313565612d346465382d613630322d6630313664633534633731641284010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d6574616461746112450a0a54686177536572766572121b70726f6a656374732f676f6c64656e2f736572766572732f7765621801620b089ba5aed80610f8c3e95c6a0b089ba5aed80610f8c3e95c', '2026-11-29 02:48:59.194979');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.ExportDisksRequest', '9670f843-a0df-42a3-8b59-47943c721498-export', '\x23f1a4695761beb11b4a5323cfb7b927a139262815de1d7189fa1a0a1613c89e', '\x0acb010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f35353938373934622d306639382d343838322d383738352d3937333732386331356237381287010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d6574616461746112480a0b4578706f72744469736b73121b70726f6a656374732f676f6c64656e2f736572766572732f7765621801620c089ba5aed80610b0f3959f016a0c089ba5aed80610b0f3959f01', '2026-11-29 02:48:59.334242');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.ThawServerRequest', '9670f843-a0df-42a3-8b59-47943c721498-thaw', '\x8383797b58b5e9c0f8c6ec762969dd2366bdb95ce5e57999b95d5d44e05923a6', '\x0aca010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f62623732323363662d343565632d346365612d623837372d3362346335653234366132641286010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d6574616461746112470a0a54686177536572766572121b70726f6a656374732f676f6c64656e2f736572766572732f7765621801620c089ba5aed80610b0efb3cd016a0c089ba5aed80610b0efb3cd01', '2026-11-29 02:48:59.431085');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.CreateServersRequest', '3e6908f2e2894b479e59b488f4fc5a4b', '\x15a91367e748caa7c5d3fa1f0ebcd9e2f4e99afd81f017bc6b6a71b32e4a922b', '\x0af2010a1c70726f6a656374732f676f6c64656e2f736572766572732f636f70791204636f707920012a1a70726f6a656374732f676f6c64656e2f696d616765732f776562323c0a2170726f6a656374732f676f6c64656e2f6469736b732f636f70792d73797374656d100122037664612a0b636f70792d73797374656d308094800c32380a2170726f6a656374732f676f6c64656e2f6469736b732f636f70792d646174612d311002180122037664622a056d6564696130808c80013a056c6f63616c5a0c089ba5aed8061090b19b9002620c089ba5aed8061090b19b90026a13313739353932303533392e3537303837342d3112ce010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f35346366336131322d633733622d343237382d613866362d663464663139666536623662128a010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d65746164617461124b0a0d43726561746553657276657273121c70726f6a656374732f676f6c64656e2f736572766572732f636f70791801620c089ba5aed80610d8e8d191026a0c089ba5aed80610d8e8d19102', '2026-11-29 02:48:59.575459');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.ExportDisksRequest', 'a73e3168-f630-4c9c-9cff-04b316319c8f-export', '\x4b8cd0d3b14135114e75dff0cd2b2b5f1e44660da7fdbaa8bb6875f1f9f27d28', '\x0acb010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f39326639326261632d316665392d346466652d616636312d3566343236363637333662321287010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d6574616461746112480a0b4578706f72744469736b73121b70726f6a656374732f676f6c64656e2f736572766572732f7765621801620c089ba5aed80610f0a1e1e6026a0c089ba5aed80610f0a1e1e602', '2026-11-29 02:48:59.752794');
INSERT INTO public.request_replay VALUES ('golden', 'recast.ecs.v1.ThawServerRequest', 'a73e3168-f630-4c9c-9cff-04b316319c8f-thaw', '\x1121517e4577483df720a029a7562aa536b59999ed4c9840cc4fe89cce8ddaca', '\x0aca010a3f70726f6a656374732f676f6c64656e2f6f7065726174696f6e732f63373563376636642d616532342d346135622d393838362d3930666364366261636134621286010a3b747970652e676f6f676c65617069732e636f6d2f7265636173742e6c6f6e6772756e6e696e672e76312e4f7065726174696f6e4d6574616461746112470a0a54686177536572766572121b70726f6a656374732f676f6c64656e2f736572766572732f7765621801620c089ba5aed80610d8c3968a036a0c089ba5aed80610d8c3968a03', '2026-11-29 02:48:59.826948');


--
-- Data for Name: server; Type: TABLE DATA; Schema: public; Owner: -
--

INSERT INTO public.server VALUES ('projects/golden/servers/web', 'golden', 9, '2026-11-29 02:48:58.748925', '2026-11-29 02:49:00.251754', 'web', '', 'RUNNING', 'projects/golden/images/sys', 'local', 'projects/golden/backups/pending', '1c9a76c2-1782-4810-9b93-c8d54fdbfd12', false, NULL);
INSERT INTO public.server VALUES ('projects/golden/servers/copy', 'golden', 2, '2026-11-29 02:48:59.570874', '2026-11-29 02:48:59.669267', 'copy', '', 'STOPPED', 'projects/golden/images/web', 'local', '', '', true, NULL);


--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);


--
-- Name: attachment attachment_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attachment
    ADD CONSTRAINT attachment_pkey PRIMARY KEY (server, disk);


--
-- Name: attachment attachment_server_position_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attachment
    ADD CONSTRAINT attachment_server_position_key UNIQUE (server, "position");


--
-- Name: disk disk_folder_key; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.disk
    ADD CONSTRAINT disk_folder_key UNIQUE (folder);


--
-- Name: disk disk_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.disk
    ADD CONSTRAINT disk_pkey PRIMARY KEY (name);


--
-- Name: ended_hold ended_hold_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.ended_hold
    ADD CONSTRAINT ended_hold_pkey PRIMARY KEY (hold_id, server);


--
-- Name: freeze freeze_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public."freeze"
    ADD CONSTRAINT freeze_pkey PRIMARY KEY (server, freeze_id);


--
-- Name: host host_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.host
    ADD CONSTRAINT host_pkey PRIMARY KEY (name);


--
-- Name: image_hold image_hold_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.image_hold
    ADD CONSTRAINT image_hold_pkey PRIMARY KEY (server, image);


--
-- Name: operation operation_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation
    ADD CONSTRAINT operation_pkey PRIMARY KEY (id);


--
-- Name: operation_step operation_step_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_step
    ADD CONSTRAINT operation_step_pkey PRIMARY KEY (operation_id, name);


--
-- Name: operation_use operation_use_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_use
    ADD CONSTRAINT operation_use_pkey PRIMARY KEY (resource, operation_id);


--
-- Name: request_replay request_replay_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.request_replay
    ADD CONSTRAINT request_replay_pkey PRIMARY KEY (project, method, request_id);


--
-- Name: server server_pkey; Type: CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.server
    ADD CONSTRAINT server_pkey PRIMARY KEY (name);


--
-- Name: disk_by_create_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX disk_by_create_time ON public.disk USING btree (project, create_time, name COLLATE "C");


--
-- Name: disk_by_display_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX disk_by_display_name ON public.disk USING btree (project, display_name COLLATE "C", name COLLATE "C");


--
-- Name: disk_by_role; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX disk_by_role ON public.disk USING btree (project, role COLLATE "C", create_time, name COLLATE "C");


--
-- Name: disk_by_size_bytes; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX disk_by_size_bytes ON public.disk USING btree (project, size_bytes, name COLLATE "C");


--
-- Name: disk_by_state; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX disk_by_state ON public.disk USING btree (project, state COLLATE "C", create_time, name COLLATE "C");


--
-- Name: ix_attachment_disk; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_attachment_disk ON public.attachment USING btree (disk);


--
-- Name: ix_disk_base; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_disk_base ON public.disk USING btree (base);


--
-- Name: ix_operation_create_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_operation_create_time ON public.operation USING btree (create_time);


--
-- Name: ix_operation_parent; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_operation_parent ON public.operation USING btree (parent);


--
-- Name: ix_operation_project; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_operation_project ON public.operation USING btree (project);


--
-- Name: ix_operation_target; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_operation_target ON public.operation USING btree (target);


--
-- Name: ix_request_replay_create_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX ix_request_replay_create_time ON public.request_replay USING btree (create_time);


--
-- Name: operation_claimable; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX operation_claimable ON public.operation USING btree (ended, queue, not_before, lease_until);


--
-- Name: server_by_create_time; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX server_by_create_time ON public.server USING btree (project, create_time, name COLLATE "C");


--
-- Name: server_by_display_name; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX server_by_display_name ON public.server USING btree (project, display_name COLLATE "C", name COLLATE "C");


--
-- Name: server_by_image; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX server_by_image ON public.server USING btree (project, image COLLATE "C", create_time, name COLLATE "C");


--
-- Name: server_by_state; Type: INDEX; Schema: public; Owner: -
--

CREATE INDEX server_by_state ON public.server USING btree (project, state COLLATE "C", create_time, name COLLATE "C");


--
-- Name: attachment attachment_disk_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attachment
    ADD CONSTRAINT attachment_disk_fkey FOREIGN KEY (disk) REFERENCES public.disk(name) ON DELETE CASCADE;


--
-- Name: attachment attachment_server_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.attachment
    ADD CONSTRAINT attachment_server_fkey FOREIGN KEY (server) REFERENCES public.server(name) ON DELETE CASCADE;


--
-- Name: image_hold image_hold_server_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.image_hold
    ADD CONSTRAINT image_hold_server_fkey FOREIGN KEY (server) REFERENCES public.server(name) ON DELETE CASCADE;


--
-- Name: operation_step operation_step_operation_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_step
    ADD CONSTRAINT operation_step_operation_id_fkey FOREIGN KEY (operation_id) REFERENCES public.operation(id) ON DELETE CASCADE;


--
-- Name: operation_use operation_use_operation_id_fkey; Type: FK CONSTRAINT; Schema: public; Owner: -
--

ALTER TABLE ONLY public.operation_use
    ADD CONSTRAINT operation_use_operation_id_fkey FOREIGN KEY (operation_id) REFERENCES public.operation(id) ON DELETE CASCADE;


--
-- PostgreSQL database dump complete
--


