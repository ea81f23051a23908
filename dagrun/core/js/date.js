// Date in the zone of the workflow. The engine's own Date follows the zone of the process, so only its UTC half is used;
// everything local is computed here, from the zone's transitions: rows of [first second, offset in seconds, name].
(function (global) {
  var Native = global.Date, proto = Native.prototype, rows = [[0, 0, 'UTC']], now = 0;
  var DAY = 86400000, CYCLE = 146097 * DAY; // after 400 years the calendar repeats
  var utc = {}, parts = ['FullYear', 'Month', 'Date', 'Hours', 'Minutes', 'Seconds', 'Milliseconds', 'Day'];
  parts.forEach(function (part) { utc['get' + part] = proto['getUTC' + part]; utc['set' + part] = proto['setUTC' + part]; });
  var getTime = proto.getTime, setTime = proto.setTime, months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
  var days = 'Sun Mon Tue Wed Thu Fri Sat'.split(' ');
  var LAST = 2128, END = start(LAST + 1); // of the rows

  function start(year) { return Native.UTC(year, 0, 1); }

  // A later year is like the one of the last 28 that has as many days and begins on the same day of the week.
  function alike(time) {
    time = END + (time - END) % CYCLE;
    var year = utc.getFullYear.call(new Native(time)), like = LAST;
    while ((start(year) - start(like)) % (7 * DAY) || (start(year + 1) - start(like + 1)) % (7 * DAY)) like--;
    return time - start(year) + start(like);
  }
  function row(time) {
    if (time >= END) time = alike(time);
    var low = 0, high = rows.length;
    while (high - low > 1) {
      var middle = (low + high) >> 1;
      if (rows[middle][0] * 1000 <= time) low = middle; else high = middle;
    }
    return rows[low];
  }
  function offset(time) { return row(time)[1] * 1000; }
  function toLocal(time) { return time + offset(time); }

  // A local time that doesn't exist counts with the offset before the gap, one that exists twice is the earlier.
  function toUtc(local) {
    if (!isFinite(local)) return NaN;
    var before = offset(local - DAY), after = offset(local + DAY);
    if (before === after || offset(local - before) === before) return local - before;
    return offset(local - after) === after ? local - after : local - before;
  }

  function Date(year) {
    var count = arguments.length, time;
    if (!new.target) return new Date().toString();
    if (count === 0) time = now;
    else if (count > 1) time = toUtc(Native.UTC.apply(null, arguments));
    else if (year instanceof Native) time = getTime.call(year);
    else {
      if (typeof year === 'object' && year !== null) {
        var convert = year[Symbol.toPrimitive];
        if (convert !== undefined) year = convert.call(year, 'default');
        else { var plain = year.valueOf(); year = typeof plain === 'object' ? String(year) : plain; }
      }
      time = typeof year === 'string' ? parse(year) : Number(year);
    }
    return Reflect.construct(Native, [time], new.target);
  }

  function define(target, name, value) {
    Object.defineProperty(target, name, {value: value, writable: true, configurable: true, enumerable: false});
  }
  Object.defineProperty(Date, 'prototype', {value: proto, writable: false});
  Object.defineProperty(Date, 'length', {value: 7, configurable: true});
  define(proto, 'constructor', Date);
  define(Date, 'UTC', Native.UTC);
  define(Date, 'now', function () { return now; });
  define(Date, 'parse', function (text) { return parse(String(text)); });
  define(global, 'Date', Date);

  parts.forEach(function (part) {
    define(proto, 'get' + part, function () { return utc['get' + part].call(new Native(toLocal(getTime.call(this)))); });
    if (part === 'Day') return;
    define(proto, 'set' + part, function () {
      var local = new Native(toLocal(getTime.call(this)));
      utc['set' + part].apply(local, arguments);
      return setTime.call(this, toUtc(getTime.call(local)));
    });
  });
  define(proto, 'getYear', function () { return this.getFullYear() - 1900; });
  define(proto, 'setYear', function (year) {
    year = Number(year);
    return this.setFullYear(year >= 0 && year <= 99 ? 1900 + Math.trunc(year) : year);
  });
  define(proto, 'getTimezoneOffset', function () {
    var time = getTime.call(this);
    return isNaN(time) ? NaN : -offset(time) / 60000 || 0;
  });

  function pad(number, width) { return String(number).padStart(width || 2, '0'); }
  function clock(date) { return pad(date.getHours()) + ':' + pad(date.getMinutes()) + ':' + pad(date.getSeconds()); }
  function day(date) {
    var year = date.getFullYear();
    return days[date.getDay()] + ' ' + months[date.getMonth()] + ' ' + pad(date.getDate()) + ' ' +
      (year < 0 ? '-' + pad(-year, 6) : pad(year, 4));
  }
  function place(date) {
    var found = row(getTime.call(date)), minutes = Math.trunc(Math.abs(found[1]) / 60);
    return 'GMT' + (found[1] < 0 ? '-' : '+') + pad(Math.trunc(minutes / 60)) + pad(minutes % 60) + ' (' + found[2] + ')';
  }
  function text(make) {
    return function () { return isNaN(getTime.call(this)) ? 'Invalid Date' : make(this); };
  }
  define(proto, 'toString', text(function (date) { return day(date) + ' ' + clock(date) + ' ' + place(date); }));
  define(proto, 'toDateString', text(day));
  define(proto, 'toTimeString', text(function (date) { return clock(date) + ' ' + place(date); }));
  define(proto, 'toLocaleString', proto.toString);
  define(proto, 'toLocaleDateString', proto.toDateString);
  define(proto, 'toLocaleTimeString', text(clock));

  var ISO = /^([+-]\d{6}|\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:T(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(Z|[+-]\d\d:?\d\d)?)?$/;

  function parse(source) {
    var match = ISO.exec(source);
    if (!match || match[1] === '-000000') return parseLoosely(source);
    var number = match.map(function (part) { return part === undefined ? undefined : +part; });
    var month = match[2] ? number[2] : 1, date = match[3] ? number[3] : 1, hour = number[4] || 0;
    var last = number[5] || number[6] || +(match[7] || 0);
    if (month < 1 || month > 12 || date < 1 || date > 31 || hour > 24 || (hour === 24 && last)) return NaN;
    if (number[5] > 59 || number[6] > 59) return NaN;
    return instant(number[1], month - 1, date, hour, number[5] || 0, number[6] || 0, Math.floor(+('0.' + (match[7] || 0)) * 1000),
      match[4] ? match[8] : 'Z');
  }

  // A zone is 'Z', '+09:00', '+0900' or undefined: local.
  function instant(year, month, date, hour, minute, second, millisecond, zone) {
    var time = new Native(0);
    utc.setFullYear.call(time, year, month, date);
    utc.setHours.call(time, hour, minute, second, millisecond);
    time = getTime.call(time);
    if (zone === undefined) return toUtc(time);
    if (zone === 'Z') return time;
    var digits = zone.replace(/\D/g, ''), minutes = +digits.slice(0, 2) * 60 + +(digits.slice(2) || 0);
    return time - (zone[0] === '-' ? -1 : 1) * minutes * 60000;
  }

  var US_ZONES = {edt: '-0400', est: '-0500', cdt: '-0500', cst: '-0600', mdt: '-0600', mst: '-0700', pdt: '-0700', pst: '-0800'};

  // `Mon, 15 Jan 2024 09:00:00 +0900`, `Jan 15, 2024 9:00 PM`, `2024/01/15 09:00`, `1/15/2024`: what engines agree on.
  function parseLoosely(source) {
    var rest = String(source).replace(/\([^()]*\)/g, ' ').trim(), zone, time = [0, 0, 0, 0], year, month, date, hours;
    var zoned = /(?:^|[\s\d])(?:(?:GMT|UTC|UT|Z)?\s*([+-]\d\d:?\d\d)|(GMT|UTC|UT|Z)|([ECMP][DS]T))$/i;
    function cut(expression) {
      var match = expression.exec(rest);
      if (match) rest = rest.slice(0, match.index) + ' ' + rest.slice(match.index + match[0].length);
      return match;
    }
    var clocked = /(?:^|[\sT])(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?/i.exec(rest), match;
    if ((match = zoned.exec(rest)) && (clocked ? match.index >= clocked.index : !match[1])) { // 02-29-2024 ends in no zone
      zone = match[1] || (match[2] ? 'Z' : US_ZONES[match[3].toLowerCase()]);
      rest = rest.slice(0, match.index + (/\d/.test(match[0][0]) ? 1 : 0));
    }
    if ((match = cut(/(?:^|[\sT])(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:\s*([ap])\.?m\.?)?(?=\s|$)/i))) {
      hours = +match[1];
      if (match[5]) {
        if (hours < 1 || hours > 12) return NaN;
        hours = hours % 12 + (match[5].toLowerCase() === 'p' ? 12 : 0);
      }
      time = [hours, +match[2], +(match[3] || 0), Math.floor(+('0.' + (match[4] || 0)) * 1000)];
      if (hours > 24 || time[1] > 59 || time[2] > 59) return NaN;
    }
    if ((match = cut(/(?:^|\s)(\d{4,6})([-\/])(\d{1,2})\2(\d{1,2})(?=\s|$)/))) { year = +match[1]; month = match[3] - 1; date = +match[4]; }
    else if ((match = cut(/(?:^|\s)(\d{1,2})([-\/])(\d{1,2})\2(\d{2,6})(?=\s|$)/))) { month = match[1] - 1; date = +match[3]; year = century(match[4]); }
    else if ((match = cut(/(?:^|[\s\d,-])(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?(?=[\s\d,-]|$)/i))) {
      if (/\d/.test(match[0][0])) rest = rest.slice(0, match.index) + match[0][0] + rest.slice(match.index);
      month = months.map(function (name) { return name.toLowerCase(); }).indexOf(match[1].toLowerCase());
      cut(/(?:^|\s)(?:sun|mon|tue|wed|thu|fri|sat)[a-z]*[.,]*/i);
      var numbers = rest.match(/\d+/g) || [];
      if (numbers.length < 1 || numbers.length > 2) return NaN;
      var yearFirst = numbers[0].length > 2;
      date = numbers.length < 2 ? (yearFirst ? 1 : +numbers[0]) : +numbers[yearFirst ? 1 : 0];
      year = numbers.length < 2 ? (yearFirst ? +numbers[0] : 2001) : century(numbers[yearFirst ? 0 : 1]);
      rest = rest.replace(/\d+|[\s,-]/g, '');
    }
    else return NaN;
    cut(/(?:^|\s)(?:sun|mon|tue|wed|thu|fri|sat)[a-z]*[.,]*/i);
    if (/[^\s,]/.test(rest) || month > 11 || month < 0 || date < 1 || date > 31) return NaN;
    return instant(year, month, date, time[0], time[1], time[2], time[3], zone);
  }
  function century(text) { return text.length > 2 ? +text : +text + (+text < 50 ? 2000 : 1900); }

  return {
    zone: function (table) { rows = JSON.parse(table); },
    now: function (time) { now = time; }
  };
})
