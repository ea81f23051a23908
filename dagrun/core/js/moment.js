// What moment 2.21.0 has and the packaged 2.8.4 lacks (spec/language T14): projects are written for 2.21.0.
(function (moment) {
  var fn = moment.fn, duration = moment.duration.fn, old = {}, localeData = Object.getPrototypeOf(moment.localeData());
  ['add', 'subtract', 'format', 'startOf', 'endOf', 'set', 'get', 'isoWeekday', 'year', 'clone', 'utc', 'local', 'calendar', 'locale',
    'month', 'weekYear', 'isoWeekYear'].forEach(function (name) { old[name] = fn[name]; });

  function define(target, methods) {
    Object.keys(methods).forEach(function (name) { target[name] = methods[name]; });
  }
  function units(name) { return moment.normalizeUnits(name); }
  function pad(number, width) {
    var text = String(Math.abs(number));
    while (text.length < width) text = '0' + text;
    return (number < 0 ? '-' : '') + text;
  }
  function truncated(number) { return (number < 0 ? Math.ceil(number) : Math.floor(number)) || 0; }
  function rounded(number) { return (number < 0 ? -Math.round(-number) : Math.round(number)) || 0; }
  function toMoment(input) { return moment.isMoment(input) ? input : moment(input); }
  function alike(input, model) { // the input in the zone of the model
    if (!model._isUTC) return toMoment(input).clone().local();
    return moment.utc(+toMoment(input)).utcOffset(model.utcOffset());
  }
  function isDate(input) { return input instanceof Date || Object.prototype.toString.call(input) === '[object Date]'; }

  // Statics.

  moment.version = '2.21.0';
  moment.defaultFormatUtc = 'YYYY-MM-DDTHH:mm:ss[Z]';
  moment.HTML5_FMT = {
    DATETIME_LOCAL: 'YYYY-MM-DDTHH:mm', DATETIME_LOCAL_SECONDS: 'YYYY-MM-DDTHH:mm:ss',
    DATETIME_LOCAL_MS: 'YYYY-MM-DDTHH:mm:ss.SSS', DATE: 'YYYY-MM-DD', TIME: 'HH:mm', TIME_SECONDS: 'HH:mm:ss',
    TIME_MS: 'HH:mm:ss.SSS', WEEK: 'YYYY-[W]WW', MONTH: 'YYYY-MM'
  };
  moment.RFC_2822 = function () {};
  moment.isDate = isDate;
  moment.now = function () { return Date.now(); };
  moment.locales = function () { return ['en']; };
  moment.prototype = fn;
  localeData.firstDayOfWeek = function () { return this._week.dow; };
  localeData.firstDayOfYear = function () { return this._week.doy; };
  moment.relativeTimeRounding = function (rounding) { return rounding === undefined ? Math.round : false; };
  moment.calendarFormat = function (from, now) {
    var days = from.diff(now, 'days', true);
    return days < -6 ? 'sameElse' : days < -1 ? 'lastWeek' : days < 0 ? 'lastDay' : days < 1 ? 'sameDay'
      : days < 2 ? 'nextDay' : days < 7 ? 'nextWeek' : 'sameElse';
  };
  ['min', 'max'].forEach(function (name) {
    var wins = name === 'min' ? 'isBefore' : 'isAfter';
    moment[name] = function (first) {
      var list = arguments.length === 1 && Array.isArray(first) ? first : Array.prototype.slice.call(arguments);
      if (!list.length) return moment();
      return list.reduce(function (best, item) { return !best.isValid() ? best : !item.isValid() || item[wins](best) ? item : best; });
    };
  });

  // Texts without a format: of ISO 8601, 2.8.4 knows the forms with a dash between month and day alone.

  var dates = [
    [/^[+-]\d{6}-\d\d-\d\d/, 'YYYYYY-MM-DD'], [/^\d{4}-\d\d-\d\d/, 'YYYY-MM-DD'], [/^\d{4}-W\d\d-\d/, 'GGGG-[W]WW-E'], [/^\d{4}-W\d\d/, 'GGGG-[W]WW'],
    [/^\d{4}-\d{3}/, 'YYYY-DDDD'], [/^\d{4}-\d\d(?!\d)/, 'YYYY-MM'], [/^\d{8}/, 'YYYYMMDD'], [/^\d{4}W\d{3}/, 'GGGG[W]WWE'],
    [/^\d{4}W\d\d/, 'GGGG[W]WW'], [/^\d{7}/, 'YYYYDDDD'], [/^\d{4}(?![\d-])/, 'YYYY']
  ];
  var times = [
    [/^\d\d:\d\d:\d\d[.,]\d+/, 'HH:mm:ss.SSSS'], [/^\d\d:\d\d:\d\d/, 'HH:mm:ss'], [/^\d\d:\d\d/, 'HH:mm'],
    [/^\d{6}[.,]\d+/, 'HHmmss.SSSS'], [/^\d{6}/, 'HHmmss'], [/^\d{4}/, 'HHmm'], [/^\d\d/, 'HH']
  ];
  function first(forms, text) {
    for (var index = 0; index < forms.length; index++) {
      var found = forms[index][0].exec(text);
      if (found) return [found[0], forms[index][1], text.slice(found[0].length)];
    }
    return null;
  }
  function iso(text) { // [the text as 2.8.4 reads it, its format], or null
    var date = first(dates, text), rest = date && date[2], time = null;
    if (date && /^[T ]/.test(rest)) {
      time = first(times, rest.slice(1));
      rest = time ? time[2] : null;
    }
    if (!date || rest === null || !/^(Z|[+-]\d\d(?::?\d\d)?)?$/.test(rest) || (rest && !time)) return null;
    if (/^[+-]\d\d$/.test(rest)) rest += ':00';
    return [date[0] + (time ? 'T' + time[0].replace(',', '.') : '') + rest, date[1] + (time ? '[T]' + time[1] : '') + (rest ? 'Z' : '')];
  }
  // Of a zone, 2.8.4 reads hours with minutes only.
  localeData.preparse = function (text) { return text.replace(/^(\d{4}-\d\d-\d\d[T ]\d\d(?::\d\d(?::\d\d(?:[.,]\d+)?)?)?[+-]\d\d)$/, '$1:00'); };

  var mail = /^(?:([A-Z][a-z]{2}),?\s)?\d{1,2}\s[A-Z][a-z]{2}\s\d{2,4}\s\d\d:\d\d(?::\d\d)?\s(?:UT|GMT|[ECMP][SD]T|[Zz]|[+-]\d{4})$/;
  function fromMail(config, text, weekday) { // invalid if it names another day of the week
    var time = Date.parse(text), wall = Date.parse(text.replace(/\S+$/, 'UTC'));
    config._d = new Date(weekday && 'SunMonTueWedThuFriSat'.indexOf(weekday) / 3 !== new Date(wall).getUTCDay() ? NaN : time);
    config._tzm = (time - wall) / 60000; // west of UTC
  }
  var otherwise = moment.createFromInputFallback;
  moment.createFromInputFallback = function (config) {
    var text = typeof config._i === 'string' ? config._i.trim() : '', found = mail.exec(text);
    if (found) return fromMail(config, text, found[1]);
    if (!(found = iso(text))) return otherwise(config);
    var read = config._useUTC ? moment.utc(found[0], found[1]) : moment(found[0], found[1]);
    config._d = new Date(read.isValid() ? +read : NaN);
  };

  // Zones: 2.8.4 knows minutes west of UTC (`zone`), 2.9 and later minutes east of it (`utcOffset`).

  function minutesOf(text) {
    var found = /.*?(Z|[+-]\d\d:?\d\d)(?!.*(?:Z|[+-]\d\d:?\d\d))/i.exec(String(text));
    if (!found) return null;
    if (/z/i.test(found[1])) return 0;
    var digits = found[1].replace(/\D/g, ''), minutes = +digits.slice(0, 2) * 60 + +digits.slice(2);
    return found[1][0] === '-' ? -minutes : minutes;
  }
  define(fn, {
    utcOffset: function (input, keepLocalTime) {
      if (!this.isValid()) return input === undefined || input === null ? NaN : this;
      if (input === undefined || input === null) return -this.zone() || 0;
      if (typeof input === 'string' && (input = minutesOf(input.replace(/^[+-]\d\d$/, '$&00'))) === null) return this;
      if (Math.abs(input) < 16) input *= 60;
      var before = this.utcOffset();
      this.zone(-input);
      if (keepLocalTime && before !== input) this._d = new Date(+this._d - (input - before) * 60000);
      return this;
    },
    parseZone: function () {
      var minutes = this._tzm !== undefined ? -this._tzm : typeof this._i === 'string' ? minutesOf(this._i) : undefined;
      return minutes === undefined ? this : minutes === null ? this.utcOffset(0, true) : this.utcOffset(minutes);
    },
    isLocal: function () { return this.isValid() ? !this._isUTC : false; },
    isUtcOffset: function () { return this.isValid() ? this._isUTC === true : false; },
    isUtc: function () { return this.isValid() ? this._isUTC === true && this.utcOffset() === 0 : false; },
    isUTC: function () { return this.isUtc(); },
    isDST: function () {
      return this.utcOffset() > this.clone().month(0).utcOffset() || this.utcOffset() > this.clone().month(5).utcOffset();
    },
    isDSTShifted: function () { return false; },
    hasAlignedHourOffset: function (input) {
      return this.isValid() && (this.utcOffset() - (input ? moment(input).utcOffset() : 0)) % 60 === 0;
    }
  });

  // Arithmetic: fractions of days and months are rounded.

  function part(field, amount) {
    var step = moment.duration(0);
    step[field] = amount;
    return step;
  }
  function shift(name) {
    return function (amount, unit) {
      if (unit !== undefined && unit !== null && !isNaN(+unit)) { var swapped = amount; amount = unit; unit = swapped; }
      if (typeof amount === 'string') amount = +amount; // so no `02:30` here
      var step = moment.duration(amount, unit);
      old[name].call(this, part('_months', rounded(step._months))); // in this order, whatever 2.8.4 does
      old[name].call(this, part('_days', rounded(step._days)));
      return old[name].call(this, part('_milliseconds', step._milliseconds));
    };
  }
  fn.add = shift('add');
  fn.subtract = shift('subtract');

  function months(from, to) { // from a to b as a fraction, counted along the calendar
    var whole = (to.year() - from.year()) * 12 + (to.month() - from.month());
    var anchor = from.clone().add(whole, 'months'), other;
    if (to - anchor < 0) {
      other = from.clone().add(whole - 1, 'months');
      return -(whole + (to - anchor) / (anchor - other)) || 0;
    }
    other = from.clone().add(whole + 1, 'months');
    return -(whole + (to - anchor) / (other - anchor)) || 0;
  }
  fn.diff = function (input, unit, exact) {
    if (!this.isValid()) return NaN;
    var that = alike(input, this), shifted = (that.utcOffset() - this.utcOffset()) * 60000, value = this - that;
    if (!that.isValid()) return NaN;
    switch (units(unit)) {
      case 'year': value = months(this, that) / 12; break;
      case 'month': value = months(this, that); break;
      case 'quarter': value = months(this, that) / 3; break;
      case 'second': value /= 1e3; break;
      case 'minute': value /= 6e4; break;
      case 'hour': value /= 36e5; break;
      case 'day': value = (value - shifted) / 864e5; break;
      case 'week': value = (value - shifted) / 6048e5; break;
    }
    return exact ? value : truncated(value);
  };

  // Comparisons.

  function compare(test) {
    return function (input, unit) {
      var other = toMoment(input);
      if (!this.isValid() || !other.isValid()) return false;
      unit = units(unit === undefined ? 'millisecond' : unit);
      return unit === 'millisecond' || !unit ? test(+this, +this, +other) : test(+this.clone().startOf(unit), +this.clone().endOf(unit), +other);
    };
  }
  define(fn, {
    isAfter: compare(function (start, end, other) { return start > other; }),
    isBefore: compare(function (start, end, other) { return end < other; }),
    isSame: compare(function (start, end, other) { return start <= other && other <= end; }),
    isSameOrAfter: function (input, unit) { return this.isSame(input, unit) || this.isAfter(input, unit); },
    isSameOrBefore: function (input, unit) { return this.isSame(input, unit) || this.isBefore(input, unit); },
    isBetween: function (from, to, unit, inclusivity) {
      inclusivity = inclusivity || '()';
      return (inclusivity[0] === '(' ? this.isAfter(from, unit) : !this.isBefore(from, unit)) &&
        (inclusivity[1] === ')' ? this.isBefore(to, unit) : !this.isAfter(to, unit));
    }
  });

  // Texts.

  var token = /\[[^\[]*\]|\\?(?:[Hh]mm(?:ss)?|Mo|MM?M?M?|Do|DDDo|DD?D?D?|ddd?d?|do?|w[o|w]?|W[o|W]?|Qo?|YYYYYY|YYYYY|YYYY|YY|gg(?:ggg?)?|GG(?:GGG?)?|e|E|a|A|hh?|HH?|kk?|mm?|ss?|S{1,9}|x|X|zz?|ZZ?|.)/g;
  var newer = {
    hmm: function (m) { return '' + (m.hours() % 12 || 12) + pad(m.minutes(), 2); },
    hmmss: function (m) { return newer.hmm(m) + pad(m.seconds(), 2); },
    Hmm: function (m) { return '' + m.hours() + pad(m.minutes(), 2); },
    Hmmss: function (m) { return newer.Hmm(m) + pad(m.seconds(), 2); },
    Qo: function (m) { return m.localeData().ordinal(m.quarter(), 'Q'); },
    Y: function (m) { var year = m.year(); return year <= 9999 ? '' + year : '+' + year; },
    k: function (m) { return '' + (m.hours() || 24); },
    kk: function (m) { return pad(m.hours() || 24, 2); },
    X: function (m) { return '' + m.unix(); },
    x: function (m) { return '' + +m; }
  };
  for (var width = 4; width <= 9; width++) newer['SSSSSSSSS'.slice(0, width)] = fraction(width);
  function fraction(width) { return function (m) { return (pad(m.milliseconds(), 3) + '000000').slice(0, width); }; }

  fn.format = function (form) {
    if (!this.isValid()) return this.localeData().invalidDate();
    if (!form) form = this.isUtc() ? moment.defaultFormatUtc : moment.defaultFormat;
    var self = this;
    return old.format.call(this, String(form).replace(token, function (part) {
      return newer.hasOwnProperty(part) ? '[' + newer[part](self) + ']' : part;
    }));
  };
  define(fn, {
    toISOString: function (keepOffset) {
      if (!this.isValid()) return null;
      var moved = keepOffset !== true ? this.clone().utc() : this, year = moved.year();
      if (year < 0 || year > 9999) return moved.format(keepOffset === true ? 'YYYYYY-MM-DD[T]HH:mm:ss.SSSZ' : 'YYYYYY-MM-DD[T]HH:mm:ss.SSS[Z]');
      return keepOffset === true ? moved.format('YYYY-MM-DD[T]HH:mm:ss.SSSZ') : new Date(this.valueOf()).toISOString();
    },
    toJSON: function () { return this.isValid() ? this.toISOString() : null; },
    toDate: function () { return new Date(this.valueOf()); },
    toObject: function () {
      return {years: this.year(), months: this.month(), date: this.date(), hours: this.hours(), minutes: this.minutes(),
        seconds: this.seconds(), milliseconds: this.milliseconds()};
    },
    toString: function () { return this.clone().locale('en').format('ddd MMM DD YYYY HH:mm:ss [GMT]ZZ'); },
    inspect: function () {
      if (!this.isValid()) return 'moment.invalid(/* ' + this._i + ' */)';
      var local = this.isLocal(), name = local ? 'moment' : this.utcOffset() === 0 ? 'moment.utc' : 'moment.parseZone';
      var year = this.year(), years = year >= 0 && year <= 9999 ? 'YYYY' : 'YYYYYY';
      return this.format('[' + name + '("]' + years + '-MM-DD[T]HH:mm:ss.SSS' + (local || name === 'moment.utc' ? (local ? '' : 'Z') : 'Z') + '[")]');
    },
    creationData: function () {
      return {input: this._i, format: this._f, locale: this.localeData(), isUTC: this._isUTC || false, strict: this._strict};
    },
    from: function (time, plain) {
      if (!this.isValid() || !toMoment(time).isValid()) return this.localeData().invalidDate();
      return moment.duration({to: this, from: time}).locale(this.locale()).humanize(!plain);
    },
    fromNow: function (plain) { return this.from(moment(), plain); },
    to: function (time, plain) {
      if (!this.isValid() || !toMoment(time).isValid()) return this.localeData().invalidDate();
      return moment.duration({from: this, to: time}).locale(this.locale()).humanize(!plain);
    },
    toNow: function (plain) { return this.to(moment(), plain); },
    calendar: function (time, formats) {
      var now = time || moment(), kind = moment.calendarFormat(this, alike(now, this).startOf('day')) || 'sameElse';
      var form = formats && formats[kind];
      if (typeof form === 'function') form = form.call(this, now);
      return this.format(form || this.localeData().calendar(kind, this));
    }
  });
  // Other locales are not there, and asking for one changes nothing.
  fn.lang = fn.locale = function (key) { return key === undefined ? this._locale._abbr : this; };
  duration.lang = duration.locale = function (key) { return key === undefined ? this._locale._abbr : this; };

  // Getting and setting.

  define(fn, {
    startOf: function (unit) { unit = units(unit); return old.startOf.call(this, unit === 'date' ? 'day' : unit); },
    endOf: function (unit) {
      unit = units(unit);
      if (!unit || unit === 'millisecond') return this;
      if (unit === 'date') unit = 'day';
      return this.startOf(unit).add(1, unit === 'isoWeek' ? 'week' : unit).subtract(1, 'ms');
    },
    set: function (unit, value) {
      if (typeof unit !== 'object') return typeof this[units(unit)] === 'function' ? old.set.call(this, unit, value) : this;
      var order = ['isoWeekYear', 'weekYear', 'year', 'quarter', 'isoWeek', 'week', 'month', 'dayOfYear', 'date', 'isoWeekday', 'weekday', 'day',
        'hour', 'minute', 'second', 'millisecond'], self = this;
      Object.keys(unit).sort(function (a, b) { return order.indexOf(units(a)) - order.indexOf(units(b)); })
        .forEach(function (key) { self.set(key, unit[key]); });
      return this;
    },
    get: function (unit) { return typeof this[units(unit)] === 'function' ? this[units(unit)]() : this; },
    isoWeekday: function (input) {
      if (!this.isValid()) return input !== undefined && input !== null ? this : NaN;
      if (typeof input === 'string') input = moment.localeData().weekdaysParse(input) % 7 || 7;
      return old.isoWeekday.apply(this, arguments.length && input !== undefined && input !== null ? [input] : []);
    },
    quarter: function (input) {
      return input === undefined || input === null ? Math.ceil((this.month() + 1) / 3) : this.month((input - 1) * 3 + this.month() % 3);
    },
    isLeapYear: function () { var year = this.year(); return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0; }
  });
  fn.quarters = fn.quarter;
  fn.dates = fn.date;
  fn.year = fn.years = function (input) { // on 29 February, in a year that has none: the 28th
    if (input === undefined || input === null) return old.year.call(this);
    if (this.isValid() && this.month() === 1 && this.date() === 29 && !moment.utc([+input, 1, 29]).isLeapYear()) this.date(28);
    return old.year.call(this, input);
  };

  fn.month = fn.months = function (input) { return old.month.call(this, /^\d+$/.test(input) ? +input : input); };
  function weekYear(name, unit, weeks, january) { // the same day of the same week, or of the year's last
    fn[name] = function (input) {
      if (input === undefined || input === null || !this.isValid()) return old[name].apply(this, arguments);
      var first = moment.utc([+input, 0, january]).startOf(unit), week = Math.min(this[unit](), moment.utc([+input])[weeks]());
      var target = first.add((week - 1) * 7 + this.diff(this.clone().startOf(unit), 'days'), 'days');
      return this.year(target.year()).month(target.month()).date(target.date());
    };
  }
  weekYear('weekYear', 'week', 'weeksInYear', 1);
  weekYear('isoWeekYear', 'isoWeek', 'isoWeeksInYear', 4);

  // Durations.

  var make = moment.duration;
  moment.duration = function (input, unit) {
    var made = make(input === null ? undefined : input, unit);
    if (input !== input) made._milliseconds = NaN; // which makes it invalid
    return made;
  };
  moment.duration.fn = duration;
  ['years', 'months', 'days', 'hours', 'minutes', 'seconds', 'milliseconds'].forEach(function (name) {
    duration[name] = function () { return this.isValid() ? this._data[name] : NaN; };
  });
  function up(number) { return number < 0 ? Math.floor(number) : Math.ceil(number); }
  define(duration, {
    isValid: function () { return !isNaN(this._milliseconds) && !isNaN(this._days) && !isNaN(this._months); },
    clone: function () { return moment.duration(this); },
    _bubble: function () { // a mix of signs becomes milliseconds first
      var rest = this._milliseconds, days = this._days, count = this._months, data = this._data;
      if (Math.min(rest, days, count) < 0 && Math.max(rest, days, count) > 0) {
        rest += up(count * 146097 / 4800 + days) * 864e5;
        days = count = 0;
      }
      data.milliseconds = rest % 1000;
      data.seconds = truncated(rest / 1000) % 60;
      data.minutes = truncated(rest / 6e4) % 60;
      data.hours = truncated(rest / 36e5) % 24;
      days += truncated(rest / 864e5);
      var full = truncated(days * 4800 / 146097);
      count += full;
      data.days = days - up(full * 146097 / 4800);
      data.months = count % 12;
      data.years = truncated(count / 12);
      return this;
    },
    weeks: function () { return this.isValid() ? truncated(this.days() / 7) : NaN; },
    get: function (unit) { return this.isValid() ? this[units(unit) + 's']() : NaN; },
    valueOf: function () {
      return this.isValid() ? this._milliseconds + this._days * 864e5 + this._months % 12 * 2592e6 + truncated(this._months / 12) * 31536e6 : NaN;
    },
    // The way back and forth between days and months is that of 400 years of the Gregorian calendar.
    as: function (unit) {
      if (!this.isValid()) return NaN;
      unit = units(unit);
      if (unit === 'month' || unit === 'year') {
        var count = this._months + (this._days + this._milliseconds / 864e5) * 4800 / 146097;
        return unit === 'month' ? count : count / 12;
      }
      var days = this._days + Math.round(this._months * 146097 / 4800), rest = this._milliseconds;
      switch (unit) {
        case 'week': return days / 7 + rest / 6048e5;
        case 'day': return days + rest / 864e5;
        case 'hour': return days * 24 + rest / 36e5;
        case 'minute': return days * 1440 + rest / 6e4;
        case 'second': return days * 86400 + rest / 1000;
        case 'millisecond': return Math.floor(days * 864e5) + rest;
        default: throw new Error('Unknown unit ' + unit);
      }
    },
    toISOString: function () {
      if (!this.isValid()) return this.localeData().invalidDate();
      var seconds = Math.abs(this._milliseconds) / 1000, days = Math.abs(this._days), count = Math.abs(this._months);
      var minutes = truncated(seconds / 60), hours = truncated(minutes / 60), years = truncated(count / 12);
      seconds = (seconds % 60) ? (seconds % 60).toFixed(3).replace(/\.?0+$/, '') : '';
      minutes %= 60;
      count %= 12;
      var total = this.asSeconds();
      if (!total) return 'P0D';
      function part(own, value, unit) { return value ? ((own < 0) !== (total < 0) ? '-' : '') + value + unit : ''; }
      return (total < 0 ? '-' : '') + 'P' + part(this._months, years, 'Y') + part(this._months, count, 'M') + part(this._days, days, 'D') +
        (hours || minutes || seconds ? 'T' : '') + part(this._milliseconds, hours, 'H') + part(this._milliseconds, minutes, 'M') +
        part(this._milliseconds, seconds, 'S');
    },
    toString: function () { return this.toISOString(); },
    toJSON: function () { return this.toISOString(); },
    toIsoString: function () { return this.toISOString(); }
  });
  'Milliseconds Seconds Minutes Hours Days Weeks Months Years'.split(' ').forEach(function (name) {
    duration['as' + name] = function () { return this.as(name.toLowerCase()); };
  });
})
