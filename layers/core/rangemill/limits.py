"""Every AWS limit and every bound of ours: unit in the name, arithmetic, source.

Nothing else in the project writes such a number down. AWS quotas as documented in November 2026.
"""

from typing import Final

KIB: Final = 2**10
MIB: Final = 2**20
GIB: Final = 2**30

# --- Step Functions: https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html ------------------------
SFN_HISTORY_MAX_EVENTS: Final = 25_000  # hard; the 25,000th event is the failure
SFN_PAYLOAD_MAX_BYTES: Final = 256 * KIB  # hard
SFN_EXECUTION_NAME_MAX_CHARS: Final = 80
SFN_MAP_MAX_CHILDREN: Final = 10_000  # running at once, per Map Run

HISTORY_BUDGET_EVENTS: Final = 20_000  # a fifth of the quota is kept for retries nobody foresaw
# A wave: Fetch 5, distributed Map 6, Aggregate 5, Decide 2 = 18. At worst Fetch and Aggregate are retried six times
# each (4 + 2 in the ASL) and the Map twice, three events a retry: 18 + (2 x 6 + 2) x 3 = 60. Before the first wave: the
# start, Plan with six retries, MorePlan?: 1 + 5 + 6 x 3 + 2. After the last: Finish or ExecuteNew with six retries, and
# when these did not help Abandon with six and Failed: 2 x (5 + 6 x 3) + 2. tests/unit/test_contract.py counts them in
# the ASL. A step of Plan that pins further pages is 25 at worst, and counts as a wave.
WAVE_EVENTS: Final = 18
WORST_WAVE_EVENTS: Final = 60
WORST_START_EVENTS: Final = 26
WORST_EXIT_EVENTS: Final = 48
CONTEXT_MAX_BYTES: Final = 1 * KIB  # ours: what passes between states

# --- names -----------------------------------------------------------------------------------------------------------
# "<pipeline>-<token>-g<generation>" must fit an execution name: 48 + 1 + 20 + 2 + 9 digits = 80.
PIPELINE_NAME_MAX_CHARS: Final = 48
JOB_TOKEN_CHARS: Final = 20  # base32: 100 bits

# --- Lambda: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html ---------------------------------
LAMBDA_MAX_SECONDS: Final = 900
LAMBDA_UNZIPPED_MAX_BYTES: Final = 250 * MIB
# Of an account's concurrency so much stays for functions that reserve none; Lambda itself lets nobody reserve it.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
LAMBDA_KEPT_CONCURRENCY: Final = 100

# --- S3: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html -------------------------------------------
S3_OBJECT_MAX_BYTES: Final = 10_000 * 5 * GIB  # parts of a multipart upload; S3 calls it 50 TB
S3_KEY_MAX_BYTES: Final = 1024
S3_LIST_PAGE_OBJECTS: Final = 1000
S3_ATTRIBUTES_PAGE_PARTS: Final = 1000

# --- a wave: ours, design section 4 ----------------------------------------------------------------------------------
RANGE_BYTES: Final = 64 * MIB
CONCURRENCY: Final = 100  # workers of one job
WAVE_MAX_SLOTS: Final = 2_000
WAVE_TARGET_SECONDS: Final = 180
WAVE_STRETCH: Final = 1.25  # by which a job's last wave may be longer, so that no short one follows
SLOT_TARGET_SECONDS: Final = 90  # between 60 and 120: a Standard child is cheaper than Express from 23-71 s on
WAVE_MAX_RUNS: Final = 100_000  # small objects of one wave: 100 pages to read, some 20 MB of slots to write
SLOT_MAX_RUNS: Final = 1_000  # small objects packed into one slot: bounds its document and its ledger rows
# Slots shrink towards the end of a wave so that workers end together, but not below this while there is enough for all:
# a slot costs $0.00006 in transitions and requests, as much as a worker in 2.4 s. Down to one range it were 1,480 slots
# for 1 TiB with 100 workers, 27 % of what the workers cost; so it is 275, 5 %, and the wave takes 7 % longer.
SLOT_LEAST_SECONDS: Final = 45
SLOTS_A_WORKER: Final = 2  # where there is too little work for slots of that length
SLOT_FIRST_BYTES_PER_SECOND: Final = 60 * 10**6  # before anything was measured: 50-85 MB/s a worker are reported
MAX_RECORD_BYTES: Final = 64 * MIB
# How much further the end of a record is looked for that is longer than `max_record_bytes`, none of it kept: 13 s at
# 80 MB/s, less than the half minute that a worker keeps to publish in peace.
TOO_LARGE_MAX_BYTES: Final = GIB
FOLD_FAN_IN: Final = 16  # wave aggregates fold like a binary counter with this base
# Objects that are handed out behind their indexers at once: their pins lie in the checkpoint, 300 bytes each.
INDEXING_MAX_OBJECTS: Final = 64
# Below this the first worker has read most of a gzip object before others could begin behind an indexer.
INDEX_MIN_BYTES: Final = 16 * MIB
# What a wave costs by itself on AWS (Map run, cold starts, Aggregate). An indexer's first turn, in which nobody else
# works, takes as long; every further one twice as long, up to a wave's: 200 GB at 100 MB/s of gzip data are 2,000 s,
# 10 + 20 + 40 + 80 + 160 + 10 x 180 s: 15 waves.
WAVE_OWN_SECONDS: Final = 10.0
GZIP_SAMPLE_BYTES: Final = 4 * MIB  # of an object's head, that Plan inflates and applies to see which takes longer
GZIP_SAMPLE_MAX_OUTPUT_BYTES: Final = 32 * MIB
INDEXER_MAX_DEATHS: Final = 3  # in a row, on a stretch that it does not get past
# Outcomes that wait for a neighbour: with as many nothing new is handed out until it has told. Each is some 160 to 700
# bytes of the checkpoint; a range that is halved to its culprit would else let 2,000 more wait with every wave.
PENDING_MAX_OUTCOMES: Final = 4 * WAVE_MAX_SLOTS
TRANSIENT_MAX_TRIES: Final = 12  # waves that a tile may come back for transient reasons before the job fails
# Looking for a record that kills: a slot whose workers died is handed out in so many parts. A wave of small slots costs
# some ten seconds however many they are: of a 64 MiB range (2^26 bytes) in sixteenths it takes 7 waves to one byte, in
# halves 26; of a slot of 5.4 GB (2^33) 9 and 33. Each wave loses one worker and 15 others do their part.
PARTS: Final = 16
# A share p of the workers may die at random. A slot is parted after n deaths in a row, n the least with 16 p^n <= 1, so
# that random deaths do not breed parts: 1 up to p = 1/16, 2 up to 1/4, 4 at 1/2. At worst five, 16 / 2^5 = 1/2.
PART_MAX_DEATHS: Final = 5
# What cannot be parted is rejected after n deaths in a row, p^n <= 1/1000: 3 at 1/10, 10 at 1/2.
CONDEMN_CHANCE: Final = 1 / 1000
CONDEMN_MIN_DEATHS: Final = 3
CONDEMN_MAX_DEATHS: Final = 10
# One culprit costs 2 + 9 + 3 deaths at most where nothing else dies. A job whose workers die everywhere must not part
# every slot: it may lose so many, or that share of the slots handed out.
DEATHS_MAX: Final = 100
DEATHS_MAX_FRACTION: Final = 0.75
CULPRITS_MAX: Final = 1_000
RETRY_MAX_SLOTS: Final = 4_000  # on the retry list, some 300 bytes each: beyond it no slot is parted
# Waves in which guesses of an object's state were wrong, before one worker goes on in it with the states that it knows.
WRONG_WAVES_MAX: Final = 3
FOLD_BATCH_BYTES: Final = 64 * MIB  # of partials folded at a time: bounds Aggregate's memory
FOLD_BATCH_PARTIALS: Final = 64
OUTCOME_THREADS: Final = 16
REPORT_MAX_OBJECTS: Final = 1_000  # listed in report.json itself; the ledger documents hold all
REPORT_MAX_REJECT_FILES: Final = 1_000  # likewise
PLAN_PAGE_OBJECTS: Final = 1_000  # one listing page; pinned by HEAD in a few seconds
# Pages of one invocation of Plan: 50 listings and at worst 50,000 HEADs by 16 threads at 30 ms are under two minutes.
# 10,000 pages (10 M objects) are 200 invocations, 1,400 events of history.
PLAN_STEP_PAGES: Final = 50
SMALL_OBJECT_BYTES: Final = 8 * MIB  # listed objects up to this are read whole; version and CRC come with that GET

# --- reading ---------------------------------------------------------------------------------------------------------
GET_BYTES: Final = 32 * MIB  # one ranged GET: 32,768 a TiB are $0.013, 4 % of the workers' cost at 80 MB/s
CONNECTIONS: Final = 2  # GETs of one worker at a time
WAITING_BYTES: Final = GET_BYTES // CONNECTIONS  # of each GET in memory: with less, one would stall behind another
FAST_BYTES_PER_SECOND: Final = 400e6  # of one connection: no worker applies so quickly that it would wait for it
PIECE_BYTES: Final = 1 * MIB  # what is passed on at a time: small enough to stay in cache
TAIL_FIRST_BYTES: Final = 64 * KIB  # first GET past a run's end, doubled as the last record goes on
READ_MAX_TRIES: Final = 6
SAMPLE_BYTES: Final = 256 * KIB  # what Plan reads of a sample's head, middle and tail
STREAM_MAX_SECONDS: Final = 780  # of a worker's 900 that Plan's estimate of an object that cannot be split may fill
# Backoff of our own requests: full jitter below a cap that doubles from the base on. boto3's own (`standard`) is the
# same from 1 s to 20 s, and comes first. Six tries in a row are at most 2 + 4 + 8 + 8 + 8 s, 15 s on average.
BACKOFF_BASE_SECONDS: Final = 1.0
BACKOFF_BROKEN_BASE_SECONDS: Final = 0.05  # where nobody refused: a connection broke, two writes met
BACKOFF_MAX_SECONDS: Final = 8.0
# --- sharing: ours ---------------------------------------------------------------------------------------------------
MAX_RUNNING_JOBS: Final = 10
MAX_WORKERS: Final = 900  # of all jobs: an account's usual 1,000 but the last 100
# Renewed by every commit, some three minutes apart. When it has run out `admit` asks whether the execution is there:
# a longer lease would only keep a lost job's workers longer from others.
LEASE_SECONDS: Final = LAMBDA_MAX_SECONDS
TAKE_UPS_MAX: Final = 3  # by the sweep, of a job whose executions go without a word and without a wave in between
LINE_MAX_JOBS: Final = 5_000  # waiting jobs that are looked at for whose turn it is: two pages, 200 read units
ADMIT_MAX_ROUNDS: Final = 5  # for others that found `admit` busy; the schedule does the rest
# --- pressure: ours --------------------------------------------------------------------------------------------------
# Beyond 5 % of a wave's answers throttling is no accident: S3 answers 503 while it splits a partition, for minutes. A
# handful of answers says nothing; below three it is one worker's bad luck.
THROTTLED_SHARE: Final = 0.05
THROTTLED_MIN_ANSWERS: Final = 3
# A halved bound comes back by eighths: four waves, some twelve minutes, from one half. It never goes below a sixteenth,
# where a job of 1,000 workers still has 62.
BOUND_STEPS: Final = 8
BOUND_LOWEST_PART: Final = 16
# --- rejects: ours -------------------------------------------------------------------------------------------------
REJECT_MAX_BYTES: Final = 64 * KIB  # of a rejected record that are kept
REJECT_GROUPS_MAX: Final = 20  # kinds of errors that are told apart, in an outcome and in a checkpoint
# A slot's rejects are one object, held in memory until it is put: a worker that has so many bytes of them stops at the
# next record boundary and hands the rest of its slot back; where it cannot stop, or meets more than four times as
# many before it can, the job fails. 32 MiB are some 100,000 rejects of 80 bytes.
REJECTS_FULL_BYTES: Final = 32 * MIB
REJECTS_MAX_BYTES: Final = 128 * MIB
REDO_PAGE_LISTS: Final = 1_000  # of waves that rejected something: 100 KB of names
REDO_SLOT_FILES: Final = 32  # of rejects that one worker applies again, and
REDO_SLOT_RECORDS: Final = 1_000  # so many records of them at least; at worst one file, of 128 MiB
# Blocks that the Python engine keeps to apply them again: a 27th of a worker of 1,769 MiB.
REPLAY_WINDOW_BYTES: Final = 64 * MIB
# A worker looks at its job's row. A consistent read, one unit: 10,000 workers make 2,000 a second of the 3,000 that one
# row can give.
LOOK_EVERY_SECONDS: Final = 5.0
STOP_MARGIN_MS: Final = 30_000  # a worker stops taking records this long before its deadline, to publish in peace

# --- prices in us-east-1, dollars: https://aws.amazon.com/{lambda,step-functions,s3}/pricing/ (November 2026) --------
LAMBDA_GB_SECOND_USD: Final = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
LAMBDA_REQUEST_USD: Final = 0.20 / 10**6
SFN_TRANSITION_USD: Final = 25 / 10**6
S3_GET_USD: Final = 0.0004 / 1000
S3_PUT_USD: Final = 0.005 / 1000
# On demand, standard table class: https://aws.amazon.com/dynamodb/pricing/on-demand/
DYNAMODB_READ_USD: Final = 0.125 / 10**6
DYNAMODB_WRITE_USD: Final = 0.625 / 10**6
