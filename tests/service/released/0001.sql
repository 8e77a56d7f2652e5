-- The database of the last Vigie that wrote no revision down, with invented rows: SQLite's, without its counters.
CREATE TABLE snapshots (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    region VARCHAR(3) NOT NULL,
    simulated BOOLEAN NOT NULL,
    issued_at VARCHAR(27) NOT NULL,
    input_digest VARCHAR(64) NOT NULL,
    previous_digest VARCHAR(64),
    digest VARCHAR(64) NOT NULL,
    document TEXT NOT NULL,
    withdrawn_at VARCHAR(27),
    withdrawn_why TEXT,
    UNIQUE (digest)
);
INSERT INTO snapshots VALUES(1,'MLI',TRUE,'2023-01-10T08:30:00.000000Z','1111111111111111111111111111111111111111111111111111111111111111',NULL,'5c1f87513a4bd9f485b6a64a7e5b459b134f7b549bfe7fbafdf5e47c68806ccd','{"countries":[{"location_code":"MLI","name":"Mali, l’été","risk_score":81.5}],"data_as_of":"2022-12-31","first":true,"id":1,"issued_at":"2023-01-10T08:30:00Z","origin":"2022-12","outcome":"state_based","previous_digest":null,"region":"MLI","simulated":true,"source":"SIMULATED"}','2023-01-10T08:30:00.000000Z','it''s wrong');
INSERT INTO snapshots VALUES(2,'MLI',TRUE,'2023-01-10T08:30:00.000000Z','2222222222222222222222222222222222222222222222222222222222222222','5c1f87513a4bd9f485b6a64a7e5b459b134f7b549bfe7fbafdf5e47c68806ccd','14fb41b79e7e99d17319291e5e821335ed65416373b69ccaa883d4e9fa1a0699','{"countries":[{"location_code":"MLI","name":"Mali, l’été","risk_score":82.5}],"data_as_of":"2022-12-31","first":false,"id":2,"issued_at":"2023-01-10T08:30:00Z","origin":"2022-12","outcome":"state_based","previous_digest":"5c1f87513a4bd9f485b6a64a7e5b459b134f7b549bfe7fbafdf5e47c68806ccd","region":"MLI","simulated":true,"source":"SIMULATED"}',NULL,NULL);
CREATE TABLE runs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    region VARCHAR(3) NOT NULL,
    started_at VARCHAR(27) NOT NULL,
    finished_at VARCHAR(27),
    status VARCHAR(16) NOT NULL,
    input_digest VARCHAR(64),
    snapshot_id INTEGER,
    error TEXT,
    FOREIGN KEY(snapshot_id) REFERENCES snapshots (id)
);
INSERT INTO runs VALUES(1,'MLI','2023-01-10T08:30:00.000000Z','2023-01-10T08:30:05.000000Z','snapshot','1111111111111111111111111111111111111111111111111111111111111111',1,NULL);
INSERT INTO runs VALUES(2,'MLI','2023-01-10T08:30:00.000000Z','2023-01-10T08:30:05.000000Z','snapshot','2222222222222222222222222222222222222222222222222222222222222222',2,NULL);
INSERT INTO runs VALUES(3,'MLI','2023-01-10T08:30:00.000000Z','2023-01-10T08:30:00.000000Z','failed',NULL,NULL,'the archive is empty');
CREATE TABLE transitions (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL,
    snapshot_id INTEGER NOT NULL,
    region VARCHAR(3) NOT NULL,
    rule VARCHAR(64) NOT NULL,
    location_code VARCHAR(3) NOT NULL,
    simulated BOOLEAN NOT NULL,
    from_state VARCHAR(16) NOT NULL,
    to_state VARCHAR(16) NOT NULL,
    at VARCHAR(27) NOT NULL,
    document TEXT NOT NULL,
    FOREIGN KEY(run_id) REFERENCES runs (id),
    FOREIGN KEY(snapshot_id) REFERENCES snapshots (id)
);
INSERT INTO transitions VALUES(1,1,1,'MLI','very-high-risk','MLI',TRUE,'ok','firing','2023-01-10T08:30:00.000000Z','{"rule":"very-high-risk","value":81.5}');
CREATE TABLE alert_states (
    region VARCHAR(3) NOT NULL,
    rule VARCHAR(64) NOT NULL,
    location_code VARCHAR(3) NOT NULL,
    simulated BOOLEAN NOT NULL,
    state VARCHAR(16) NOT NULL,
    since VARCHAR(27) NOT NULL,
    origins INTEGER NOT NULL,
    last_origin VARCHAR(7),
    value FLOAT,
    reason VARCHAR(64),
    transition_id INTEGER,
    PRIMARY KEY (region, rule, location_code, simulated),
    FOREIGN KEY(transition_id) REFERENCES transitions (id)
);
INSERT INTO alert_states VALUES('MLI','very-high-risk','MLI',TRUE,'firing','2023-01-10T08:30:00.000000Z',1,'2022-12',81.5,NULL,1);
CREATE TABLE deliveries (
    id VARCHAR(40) NOT NULL,
    run_id INTEGER,
    route VARCHAR(64) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    document TEXT NOT NULL,
    created_at VARCHAR(27) NOT NULL,
    status VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    not_before VARCHAR(27) NOT NULL,
    sent_at VARCHAR(27),
    error TEXT,
    PRIMARY KEY (id),
    FOREIGN KEY(run_id) REFERENCES runs (id)
);
INSERT INTO deliveries VALUES('msg_0123456789abcdef',1,'duty','firing','{"data":{"headline":{"en":"Mali","fr":"Mali"}},"type":"alert.firing"}','2023-01-10T08:30:00.000000Z','waiting',0,'2023-01-10T08:30:00.000000Z',NULL,NULL);
CREATE INDEX deliveries_waiting ON deliveries (not_before) WHERE status = 'waiting';
