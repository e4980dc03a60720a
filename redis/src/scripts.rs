//! The steps of the protocol as scripts, each of which the server runs atomically.
//!
//! `KEYS[1]` is the prefix of all keys, `{name}` in braces, so that a cluster keeps them in one slot.
//!
//! Each script but [`SUBMIT`] and [`PUT`] also runs while the server is out of memory, because it frees more than it
//! uses.

use redis::Script;

/// Functions that several scripts use. `answer(P, client, number, bytes, ttl)` adds an answer, `drop(T, id)` ends a
/// record.
macro_rules! answer {
    () => {
        r#"
local lives = {}
local function answer(P, client, n, r, ttl)
  local out = P .. ':c:' .. client .. ':out'
  if #r > 262144 then
    redis.call('HSET', out .. ':big', n, r)
    redis.call('PEXPIRE', out .. ':big', ttl)
    r = ''
  end
  redis.call('XADD', out, '*', 'n', n, 'r', r)
  if not lives[out] then
    redis.call('PEXPIRE', out, ttl)
    lives[out] = true
  end
end
local function drop(T, id)
  redis.call('XACK', T, 'w', id)
  redis.call('XDEL', T, id)
end
"#
    };
}

/// Ends the records of lost hosts. `sweep(P, now, lease)`:
/// * If no sweep ran for half a lease, all leases begin anew: the server was down or replaced, or had no clients.
/// * If a worker has no lease, its running chunks are answered as lost, and those that it had only claimed are
///   returned.
macro_rules! sweep {
    () => {
        concat!(
            answer!(),
            r#"
local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function lose(P, T, id, info, ttl)
  local found = redis.call('XRANGE', T, id, id)[1]
  local f = found and found[2]
  drop(T, id)
  if f and #f == 6 and f[1] == 'c' and f[3] == 'n' then
    local base = P .. ':c:' .. f[2]
    if redis.call('HGET', base .. ':at', f[4]) == id then
      redis.call('HDEL', base .. ':at', f[4])
      redis.call('HDEL', base .. ':big', f[4])
      answer(P, f[2], f[4], 'L' .. info, ttl)
    end
  end
end
local function each_pending(T, name, act)
  while true do
    local found = redis.call('XPENDING', T, 'w', '-', '+', 100, name)
    for _, p in ipairs(found) do act(p[1]) end
    if #found < 100 then return end
  end
end
local function empty(P, T, w, info, ttl)
  each_pending(T, w .. '/r', function(id) lose(P, T, id, info, ttl) end)
  each_pending(T, w .. '/a', function(id) redis.call('XCLAIM', T, 'w', '~', 0, id, 'JUSTID'); if #redis.call('XPENDING', T, 'w', id, id, 1, w .. '/a') > 0 then drop(T, id) end end)
  redis.call('XGROUP', 'DELCONSUMER', T, 'w', w .. '/r')
  redis.call('XGROUP', 'DELCONSUMER', T, 'w', w .. '/a')
end
local function sweep(P, now, lease, ttl)
  local last = tonumber(redis.call('GET', P .. ':sweep') or '0')
  if last <= now and now - last < lease / 50 then return end
  redis.call('SET', P .. ':sweep', now)
  if last > now or now - last > lease / 2 then
    for _, w in ipairs(redis.call('ZRANGE', P .. ':alive', 0, -1)) do
      redis.call('ZADD', P .. ':alive', now + lease, w)
    end
    return
  end
  for _, label in ipairs(redis.call('SMEMBERS', P .. ':labels')) do
    local T = P .. ':tasks:' .. label
    local consumers = redis.pcall('XINFO', 'CONSUMERS', T, 'w')
    for _, c in ipairs(consumers.err and {} or consumers) do
      local name = c[2]
      if #name > 2 then
        local w = string.sub(name, 1, -3)
        local till = redis.call('ZSCORE', P .. ':alive', w)
        if not till or tonumber(till) < now then
          empty(P, T, w, redis.call('HGET', P .. ':workers', w) or w, ttl)
        end
      end
    end
  end
  for _, w in ipairs(redis.call('ZRANGEBYSCORE', P .. ':alive', '-inf', now - 1)) do
    redis.call('ZREM', P .. ':alive', w)
    redis.call('HDEL', P .. ':workers', w)
  end
end
"#
        )
    };
}

/// Adds chunks that are not present yet. ARGV: label, client, ttl, then number and bytes of each. Returns how many were
/// new.
///
/// Three commands for each chunk, and one more. The worker that first takes from a stream makes its group, which begins
/// with the first record; so no chunk has to wait for that here.
const SUBMIT: &str = r#"#!lua
local P, client, ttl = KEYS[1], ARGV[2], ARGV[3]
local T, base = P .. ':tasks:' .. ARGV[1], P .. ':c:' .. client
local at, new = base .. ':at', 0
for i = 4, #ARGV, 2 do
  local n, b = ARGV[i], ARGV[i + 1]
  if redis.call('HEXISTS', at, n) == 0 then
    if #b > 262144 then
      redis.call('HSET', base .. ':big', n, b)
      redis.call('PEXPIRE', base .. ':big', ttl)
      b = ''
    end
    redis.call('HSET', at, n, redis.call('XADD', T, '*', 'c', client, 'n', n, 'b', b))
    new = new + 1
  end
end
redis.call('PEXPIRE', at, ttl)
return new
"#;

/// Finds the chunks of a client that are neither waiting nor claimed. ARGV: label, client, numbers. Returns the
/// numbers.
///
/// A number and its record are created and deleted together, unless a user deletes records or the stream.
const MISSING: &str = r#"#!lua flags=allow-oom
local P, label, client = KEYS[1], ARGV[1], ARGV[2]
local T, at = P .. ':tasks:' .. label, P .. ':c:' .. client .. ':at'
local missing = {}
for i = 3, #ARGV do
  local id = redis.call('HGET', at, ARGV[i])
  if id and #redis.call('XRANGE', T, id, id) == 0 then
    redis.call('HDEL', at, ARGV[i])
    id = false
  end
  if not id then missing[#missing + 1] = ARGV[i] end
end
return missing
"#;

/// Heartbeat of a client. ARGV: client, ttl, lease. Returns the descriptions of the living workers.
const TICK: &str = concat!(
    "#!lua flags=allow-oom\n",
    sweep!(),
    r#"
local P, client, ttl, lease = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local base = P .. ':c:' .. client
for _, key in ipairs({':at', ':big', ':out', ':out:big'}) do redis.call('PEXPIRE', base .. key, ttl) end
sweep(P, now_ms(), lease, ttl)
return redis.call('HVALS', P .. ':workers')
"#
);

/// Cancels chunks of a client. ARGV: label, client, numbers.
const END: &str = r#"#!lua flags=allow-oom
local P, label, client = KEYS[1], ARGV[1], ARGV[2]
local T, base = P .. ':tasks:' .. label, P .. ':c:' .. client
for i = 3, #ARGV do
  local id = redis.call('HGET', base .. ':at', ARGV[i])
  if id then
    redis.call('XACK', T, 'w', id)
    redis.call('XDEL', T, id)
    redis.call('HDEL', base .. ':at', ARGV[i])
    redis.call('HDEL', base .. ':big', ARGV[i])
  end
end
if redis.call('EXISTS', base .. ':at') == 0 and redis.call('XLEN', base .. ':out') == 0 then
  redis.call('DEL', base .. ':out', base .. ':out:big')
end
return 0
"#;

/// Runs a worker's turn: ends chunks with their answers, begins chunks claimed ahead, and claims more. ARGV: worker,
/// ttl, the numbers of chunks to run, chunks ahead, labels and ends, the labels. Then for each end: label, id, client,
/// number, whether its bytes are stored outside the stream, and answer. Then for each beginning: label, id, client and
/// number.
///
/// Returns for each beginning whether the worker may begin, and `false` to a worker without a lease. For each claimed
/// chunk it returns kind, label, id, client, number and bytes, and whether the bytes were stored outside the stream. A
/// worker whose answer was lost repeats the request. An end counts once, and a beginning already belongs to the worker.
/// Chunks claimed in a lost answer are returned after two heartbeats.
///
/// It runs five commands for each end, three for each beginning and one for each claimed chunk. It also runs one for
/// each client that gets an answer, one before the claims and two for each label that it reads. Chunks and answers
/// above 256 KiB need more.
const TURN: &str = concat!(
    "#!lua flags=allow-oom\n",
    answer!(),
    r#"
local P, w, ttl = KEYS[1], ARGV[1], ARGV[2]
local labels, ends = tonumber(ARGV[5]), tonumber(ARGV[6])
local next, may, out, dead = 7 + labels, {}, {}, P .. ':dead'
for i = next, next + ends * 6 - 1, 6 do
  local T, id, n = P .. ':tasks:' .. ARGV[i], ARGV[i + 1], ARGV[i + 3]
  drop(T, id)
  local base = P .. ':c:' .. ARGV[i + 2]
  local at = redis.call('HGET', base .. ':at', n)
  if at then
    if at ~= id then drop(T, at) end
    redis.call('HDEL', base .. ':at', n)
    if ARGV[i + 4] == '1' then redis.call('HDEL', base .. ':big', n) end
    answer(P, ARGV[i + 2], n, ARGV[i + 5], ttl)
  end
end
for i = next + ends * 6, #ARGV, 4 do
  local T, id = P .. ':tasks:' .. ARGV[i], ARGV[i + 1]
  local p = redis.pcall('XPENDING', T, 'w', id, id, 1)
  local ok = 0
  if not p.err and p[1] and (p[1][2] == w .. '/a' or p[1][2] == w .. '/r') then
    if redis.call('HGET', P .. ':c:' .. ARGV[i + 2] .. ':at', ARGV[i + 3]) == id then
      redis.call('XCLAIM', T, 'w', w .. '/r', 0, id, 'JUSTID')
      ok = 1
    else
      drop(T, id)
    end
  end
  may[#may + 1] = ok
end
local function give(T, label, kind, entry)
  local id, f = entry[1], entry[2]
  if not f then
    redis.call('XACK', T, 'w', id)
    return 0
  end
  if #f ~= 6 or f[1] ~= 'c' or f[3] ~= 'n' or f[5] ~= 'b' then
    redis.call('XADD', dead, 'MAXLEN', '~', 1000, '*', 'label', label, 'why', 'not a chunk of calls', 'c', '', 'b', table.concat(f, ' ', 1, math.min(#f, 64)))
    drop(T, id)
    return 0
  end
  local base, b, beside = P .. ':c:' .. f[2], f[6], 0
  if redis.call('HGET', base .. ':at', f[4]) ~= id then
    drop(T, id)
    return 0
  end
  if b == '' then b, beside = redis.call('HGET', base .. ':big', f[4]) or '', 1 end
  out[#out + 1] = {kind, label, id, f[2], f[4], b, beside}
  return 1
end
local function claim(kind, want)
  local me = w .. '/' .. kind
  for i = 7, 6 + labels do
    local label = ARGV[i]
    local T = P .. ':tasks:' .. label
    local function fresh()
      while want > 0 do
        local found = redis.pcall('XREADGROUP', 'GROUP', 'w', me, 'COUNT', want, 'STREAMS', T, '>')
        if found and found.err then
          if redis.call('EXISTS', T) == 1 and redis.call('TYPE', T).ok ~= 'stream' then return end
          redis.call('XGROUP', 'CREATE', T, 'w', '0', 'MKSTREAM')
          redis.call('SADD', P .. ':labels', label)
        elseif not found or #found == 0 then
          return
        else
          local asked = want
          for _, entry in ipairs(found[1][2]) do want = want - give(T, label, kind, entry) end
          if #found[1][2] < asked then return end
        end
      end
    end
    if want > 0 then
      local back = redis.pcall('XPENDING', T, 'w', '-', '+', want, '~')
      if not back.err then
        for _, p in ipairs(back) do
          local got = redis.call('XCLAIM', T, 'w', me, 0, p[1])
          if got[1] then want = want - give(T, label, kind, got[1]) else redis.call('XACK', T, 'w', p[1]) end
        end
      end
      fresh()
    end
  end
  return want
end
local run, ahead = tonumber(ARGV[3]), tonumber(ARGV[4])
if run + ahead > 0 then
  if not redis.call('ZSCORE', P .. ':alive', w) then return {may, false} end
  if claim('r', run) == 0 then claim('a', ahead) end
end
return {may, out}
"#
);

/// Returns chunks that a worker has claimed and not begun. ARGV: worker, then label and id of each.
const RELEASE: &str = r#"#!lua flags=allow-oom
local P, w = KEYS[1], ARGV[1]
for i = 2, #ARGV, 2 do
  local T, id = P .. ':tasks:' .. ARGV[i], ARGV[i + 1]
  local p = redis.pcall('XPENDING', T, 'w', id, id, 1)
  if not p.err and p[1] and (p[1][2] == w .. '/a' or p[1][2] == w .. '/r') then
    redis.call('XCLAIM', T, 'w', '~', 0, id, 'JUSTID')
  end
end
return 0
"#;

/// Heartbeat of a worker. ARGV: worker, its description, lease, ttl, the number of labels, the labels, then client and
/// number of each running chunk. Returns for each whether a client waits for it, and label and id of all that the
/// worker has claimed.
const BEAT: &str = concat!(
    "#!lua flags=allow-oom\n",
    sweep!(),
    r#"
local P, w, lease = KEYS[1], ARGV[1], tonumber(ARGV[3])
local now = now_ms()
redis.call('ZADD', P .. ':alive', now + lease, w)
redis.call('HSET', P .. ':workers', w, ARGV[2])
sweep(P, now, lease, ARGV[4])
local labels, wanted, claimed = tonumber(ARGV[5]), {}, {}
for i = 6, 5 + labels do
  redis.call('SADD', P .. ':labels', ARGV[i])
  for _, kind in ipairs({'/r', '/a'}) do
    local found = redis.pcall('XPENDING', P .. ':tasks:' .. ARGV[i], 'w', '-', '+', 1000, w .. kind)
    for _, p in ipairs(found.err and {} or found) do claimed[#claimed + 1] = {ARGV[i], p[1]} end
  end
end
for i = 6 + labels, #ARGV, 2 do
  wanted[#wanted + 1] = redis.call('HEXISTS', P .. ':c:' .. ARGV[i] .. ':at', ARGV[i + 1])
end
return {wanted, claimed}
"#
);

/// Ends a worker. ARGV: worker, ttl.
const RETIRE: &str = concat!(
    "#!lua flags=allow-oom\n",
    sweep!(),
    r#"
local P, w = KEYS[1], ARGV[1]
for _, label in ipairs(redis.call('SMEMBERS', P .. ':labels')) do
  local T = P .. ':tasks:' .. label
  if not redis.pcall('XINFO', 'CONSUMERS', T, 'w').err then
    empty(P, T, w, redis.call('HGET', P .. ':workers', w) or w, ARGV[2])
  end
end
redis.call('ZREM', P .. ':alive', w)
redis.call('HDEL', P .. ':workers', w)
return 0
"#
);

/// Adds a chunk to the dead letters. ARGV: label, why, client, bytes.
const DEAD_LETTER: &str = r#"#!lua flags=allow-oom
local P = KEYS[1]
return redis.call('XADD', P .. ':dead', 'MAXLEN', '~', 1000, '*', 'label', ARGV[1], 'why', ARGV[2], 'c', ARGV[3], 'b', ARGV[4])
"#;

/// Numbers the calls by which a user changes a queue. A key of the user stores the last executed call. A call whose
/// answer was lost is repeated under its number, and is executed once. `repeated(P, user, number)` returns whether it
/// was executed; `note(P, user, number, ttl)` records that it was.
macro_rules! numbered {
    () => {
        r#"
local function repeated(P, user, number)
  return tonumber(redis.call('GET', P .. ':q:' .. user) or '0') >= tonumber(number)
end
local function note(P, user, number, ttl)
  redis.call('SET', P .. ':q:' .. user, number, 'PX', ttl)
end
"#
    };
}

/// Puts an item into a queue. ARGV: user, number, ttl, the maximum length or 0, bytes, and optionally a name and how
/// long it stays. Returns 1 if the item was put, 0 if the queue was full, 2 if an item of that name was put before.
const PUT: &str = concat!(
    "#!lua\n",
    numbered!(),
    r#"
local P, T, max = KEYS[1], KEYS[1] .. ':tasks:q', tonumber(ARGV[4])
if repeated(P, ARGV[1], ARGV[2]) then return 1 end
local named = ARGV[6] and P .. ':once:' .. ARGV[6]
if named and redis.call('EXISTS', named) == 1 then return 2 end
if redis.call('EXISTS', T) == 0 then redis.call('XGROUP', 'CREATE', T, 'w', '0', 'MKSTREAM') end
if max > 0 and redis.call('XLEN', T) >= max then return 0 end
redis.call('SADD', P .. ':labels', 'q')
redis.call('XADD', T, '*', 'b', ARGV[5])
redis.call('INCR', P .. ':unfinished')
note(P, ARGV[1], ARGV[2], ARGV[3])
if named then redis.call('SET', named, '', 'PX', ARGV[7]) end
return 1
"#
);

/// Takes an item. ARGV: the getter, and the ids of the items that it has. Returns `false` to a getter without a lease;
/// otherwise the id and the bytes, or the empty text and the id of the last item so far. An item whose answer was lost
/// is delivered again.
const GET: &str = r#"#!lua flags=allow-oom
local P, T, w = KEYS[1], KEYS[1] .. ':tasks:q', ARGV[1]
if not redis.call('ZSCORE', P .. ':alive', w) then return false end
if redis.call('EXISTS', T) == 0 then redis.call('XGROUP', 'CREATE', T, 'w', '0', 'MKSTREAM') end
local me, has = w .. '/a', {}
for i = 2, #ARGV do has[ARGV[i]] = true end
local function give(entry)
  local f = entry and entry[2]
  if f and #f == 2 and f[1] == 'b' then return {entry[1], f[2]} end
  if entry then
    redis.call('XACK', T, 'w', entry[1])
    redis.call('XDEL', T, entry[1])
  end
end
for _, p in ipairs(redis.call('XPENDING', T, 'w', '-', '+', #ARGV + 1, me)) do
  if not has[p[1]] then
    local given = give(redis.call('XRANGE', T, p[1], p[1])[1])
    if given then return given end
    redis.call('XACK', T, 'w', p[1])
  end
end
for _, p in ipairs(redis.call('XPENDING', T, 'w', '-', '+', 8, '~')) do
  local given = give(redis.call('XCLAIM', T, 'w', me, 0, p[1])[1])
  if given then return given end
  redis.call('XACK', T, 'w', p[1])
end
while true do
  local found = redis.call('XREADGROUP', 'GROUP', 'w', me, 'COUNT', 1, 'STREAMS', T, '>')
  if not found or #found == 0 then break end
  local given = give(found[1][2][1])
  if given then return given end
end
local info, last = redis.call('XINFO', 'STREAM', T), '0-0'
for i = 1, #info, 2 do if info[i] == 'last-generated-id' then last = info[i + 1] end end
return {'', last}
"#;

/// Ends an item, or returns it to the queue. ARGV: user, number, ttl, the id, `done` or `back`. Returns whether the
/// user still had it.
const ACKNOWLEDGE: &str = concat!(
    "#!lua flags=allow-oom\n",
    numbered!(),
    r#"
local P, T, id = KEYS[1], KEYS[1] .. ':tasks:q', ARGV[4]
if repeated(P, ARGV[1], ARGV[2]) then return 1 end
local p = redis.pcall('XPENDING', T, 'w', id, id, 1)
if p.err or not p[1] or p[1][2] ~= ARGV[1] .. '/a' then return 0 end
if ARGV[5] == 'back' then
  redis.call('XCLAIM', T, 'w', '~', 0, id, 'JUSTID')
else
  redis.call('XACK', T, 'w', id)
  redis.call('XDEL', T, id)
end
note(P, ARGV[1], ARGV[2], ARGV[3])
return 1
"#
);

/// Counts one item as finished. ARGV: user, number, ttl. Returns whether any was unfinished.
const DONE: &str = concat!(
    "#!lua flags=allow-oom\n",
    numbered!(),
    r#"
local P = KEYS[1]
if repeated(P, ARGV[1], ARGV[2]) then return 1 end
if tonumber(redis.call('GET', P .. ':unfinished') or '0') <= 0 then return 0 end
redis.call('DECR', P .. ':unfinished')
note(P, ARGV[1], ARGV[2], ARGV[3])
return 1
"#
);

/// The scripts, with the names under which the server stores them.
pub(crate) struct Scripts {
    pub(crate) submit: Script,
    pub(crate) missing: Script,
    pub(crate) tick: Script,
    pub(crate) end: Script,
    pub(crate) turn: Script,
    pub(crate) release: Script,
    pub(crate) beat: Script,
    pub(crate) retire: Script,
    pub(crate) dead_letter: Script,
    pub(crate) put: Script,
    pub(crate) get: Script,
    pub(crate) acknowledge: Script,
    pub(crate) done: Script,
}

impl Scripts {
    pub(crate) fn new() -> Self {
        Self {
            submit: Script::new(SUBMIT),
            missing: Script::new(MISSING),
            tick: Script::new(TICK),
            end: Script::new(END),
            turn: Script::new(TURN),
            release: Script::new(RELEASE),
            beat: Script::new(BEAT),
            retire: Script::new(RETIRE),
            dead_letter: Script::new(DEAD_LETTER),
            put: Script::new(PUT),
            get: Script::new(GET),
            acknowledge: Script::new(ACKNOWLEDGE),
            done: Script::new(DONE),
        }
    }
}
