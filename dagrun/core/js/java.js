// The methods of java.lang.String on texts (spec/language T12), with Java's regular expressions and its rules for
// replacements. Where ES5 has a method of the same name, that one stays. Newer methods of JavaScript lose.
(function (global) {
  var native = {replaceAll: String.prototype.replaceAll, trim: String.prototype.trim};
  var classes = {
    Lower: 'a-z', Upper: 'A-Z', ASCII: '\\x00-\\x7F', Alpha: 'a-zA-Z', Digit: '0-9', Alnum: 'a-zA-Z0-9',
    Punct: '!-\\/:-@\\[-`{-~', Graph: '!-~', Print: ' -~', Blank: ' \\t', Cntrl: '\\x00-\\x1F\\x7F', XDigit: '0-9a-fA-F',
    Space: ' \\t\\n\\x0B\\f\\r', IsDigit: '0-9', IsAlphabetic: null
  };
  var spaces = ' \\t\\n\\x0B\\f\\r';
  var horizontal = ' \\t\\xA0\\u1680\\u180e\\u2000-\\u200a\\u202f\\u205f\\u3000';

  function define(target, methods) {
    Object.keys(methods).forEach(function (name) {
      Object.defineProperty(target, name, {value: methods[name], writable: true, configurable: true, enumerable: false});
    });
  }

  function fail(kind, message) { throw new Error(kind + ': ' + message); }

  // A regular expression of Java as one of JavaScript.
  function pattern(source, flags, whole) {
    var text = String(source), out = '', depth = 0, unicode = false, at = 0, match;
    function take(expression) {
      match = expression.exec(text.slice(at));
      if (match) at += match[0].length;
      return match;
    }
    function many(members, negated) {
      if (depth) { if (negated) fail('PatternSyntaxException', 'unsupported in a character class: ' + text); return members; }
      return '[' + (negated ? '^' : '') + members + ']';
    }
    while (take(/^\(\?([a-zA-Z]+)\)/)) {
      match[1].split('').forEach(function (flag) {
        if ('ims'.indexOf(flag) < 0 && flag !== 'u') fail('PatternSyntaxException', 'unsupported flag ' + flag + ': ' + text);
        if (flag !== 'u' && flags.indexOf(flag) < 0) flags += flag;
      });
    }
    while (at < text.length) {
      if (take(/^\\Q([\s\S]*?)(?:\\E|$)/)) out += match[1].replace(/[\\^$.*+?()[\]{}|\/-]/g, '\\$&');
      else if (take(/^\\([pP])(?:\{(?:Is|In)?(\w+)(?:=(\w+))?\}|(\w))/)) {
        var name = match[2] || match[4];
        if (classes[name]) out += many(classes[name], match[1] === 'P');
        else { unicode = true; out += '\\' + match[1] + '{' + (match[3] ? name + '=' + match[3] : name) + '}'; }
      }
      else if (take(/^\\s/)) out += many(spaces);
      else if (take(/^\\h/)) out += many(horizontal);
      else if (take(/^\\R/)) out += '(?:\\r\\n|[\\n\\x0B\\f\\r\\x85\\u2028\\u2029])';
      else if (take(/^\\A/)) out += '^';
      else if (take(/^\\z/)) out += '$';
      else if (take(/^\\Z/) || (!depth && flags.indexOf('m') < 0 && take(/^\$/))) out += '(?=(?:\\r\\n|[\\n\\r\\x85\\u2028\\u2029])?$)';
      else if (take(/^\\e/)) out += '\\x1B';
      else if (take(/^\\a/)) out += '\\x07';
      else if (take(/^\\x\{([0-9a-fA-F]+)\}/)) { unicode = true; out += '\\u{' + match[1] + '}'; }
      else if (take(/^\\0([0-3]?[0-7]{1,2})/)) out += '\\x' + ('0' + parseInt(match[1], 8).toString(16)).slice(-2);
      else if (take(/^\\[\s\S]/)) out += match[0];
      else if (take(/^\[\^?\]?/)) { if (depth) fail('PatternSyntaxException', 'nested character class: ' + text); depth = 1; out += match[0].replace(/\]$/, '\\]'); }
      else if (depth && take(/^&&/)) fail('PatternSyntaxException', 'intersections are not supported: ' + text);
      else if (take(/^\]/)) { out += depth ? ']' : '\\]'; depth = 0; }
      else if (take(/^[\s\S]/)) out += match[0];
    }
    if (unicode) out = out.replace(/\\([^\w\s^$\\.*+?()[\]{}|\/-])/g, '$1').replace(/\\([_ ])/g, '$1');
    return new RegExp(whole ? '^(?:' + out + ')$' : out, flags + (unicode ? 'u' : ''));
  }

  // A replacement of Java for one match: \x is x, $1 and ${name} are groups.
  function replacement(text, match) {
    var out = '', groups = match.length - 1;
    for (var i = 0; i < text.length; i++) {
      var c = text[i];
      if (c === '\\') {
        if (++i >= text.length) fail('IllegalArgumentException', 'character to be escaped is missing');
        out += text[i];
      } else if (c !== '$') out += c;
      else if (text[i + 1] === '{') {
        var end = text.indexOf('}', i), name = text.slice(i + 2, end);
        if (end < 0 || !match.groups || !(name in match.groups)) fail('IllegalArgumentException', 'No group with name {' + name + '}');
        out += match.groups[name] === undefined ? '' : match.groups[name];
        i = end;
      } else {
        if (!/[0-9]/.test(text[i + 1] || '')) fail('IllegalArgumentException', 'Illegal group reference');
        var number = +text[++i];
        if (number > groups) fail('IndexOutOfBoundsException', 'No group ' + number);
        while (/[0-9]/.test(text[i + 1] || '') && number * 10 + +text[i + 1] <= groups) number = number * 10 + +text[++i];
        out += match[number] === undefined ? '' : match[number];
      }
    }
    return out;
  }

  function substitute(text, source, by, flags) {
    var expression = pattern(source, flags);
    by = String(by);
    return text.replace(expression, function () {
      var groups = Array.prototype.slice.call(arguments), names;
      if (typeof groups[groups.length - 1] === 'object') names = groups.pop();
      groups.length -= 2;
      groups.groups = names;
      return replacement(by, groups);
    });
  }

  // java.util.Formatter for texts, numbers and booleans.
  function format(text, values) {
    var next = 0;
    return text.replace(/%(?:(\d+)\$)?([-#+ 0,(]*)(\d+)?(?:\.(\d+))?([a-zA-Z%])/g, function (all, index, flags, width, precision, kind) {
      if (kind === 'n') return '\n';
      var value = kind === '%' ? null : values[index ? index - 1 : next++], body;
      if (kind !== '%' && value === undefined) fail('MissingFormatArgumentException', "Format specifier '" + all + "'");
      function number() {
        if (typeof value !== 'number') fail('IllegalFormatConversionException', all + ' != ' + typeof value);
        return value;
      }
      var digits = precision === undefined ? 6 : +precision;
      switch (kind.toLowerCase()) {
        case '%': body = '%'; break;
        case 's': body = String(value); if (precision !== undefined) body = body.slice(0, digits); break;
        case 'b': body = String(value === null ? false : typeof value === 'boolean' ? value : true); break;
        case 'c': body = typeof value === 'number' ? String.fromCodePoint(value) : String(value); break;
        case 'd': if (number() % 1) fail('IllegalFormatConversionException', 'd != java.lang.Double'); body = Math.abs(value).toFixed(0); break;
        case 'x': body = (number() < 0 ? value + 4294967296 : value).toString(16); break;
        case 'o': body = (number() < 0 ? value + 4294967296 : value).toString(8); break;
        case 'f': body = Math.abs(number()).toFixed(digits); break;
        case 'e': body = Math.abs(number()).toExponential(digits).replace(/e([+-])(\d)$/, 'e$10$2'); break;
        default: fail('UnknownFormatConversionException', "Conversion = '" + kind + "'");
      }
      var sign = '', signed = 'dfe'.indexOf(kind.toLowerCase()) >= 0;
      if (signed && flags.indexOf(',') >= 0) body = body.replace(/^\d+/, function (whole) { return whole.replace(/\B(?=(\d{3})+$)/g, ','); });
      if (signed) {
        if (value < 0) sign = flags.indexOf('(') >= 0 ? '(' : '-';
        else sign = flags.indexOf('+') >= 0 ? '+' : flags.indexOf(' ') >= 0 ? ' ' : '';
      }
      var tail = sign === '(' ? ')' : '', room = (width || 0) - sign.length - tail.length;
      if (kind === kind.toUpperCase() && kind !== '%') body = body.toUpperCase();
      if (flags.indexOf('0') >= 0) body = body.padStart(room, '0');
      body = sign + body + tail;
      return flags.indexOf('-') >= 0 ? body.padEnd(width || 0) : body.padStart(width || 0);
    });
  }

  define(String.prototype, {
    replaceAll: function (from, to) {
      if (from instanceof RegExp || typeof to === 'function') return native.replaceAll.call(this, from, to);
      return substitute(String(this), from, to, 'g');
    },
    replaceFirst: function (from, to) { return substitute(String(this), from, to, ''); },
    matches: function (source) { return pattern(source, '', true).test(this); },
    contains: function (part) { return this.indexOf(String(part)) >= 0; },
    contentEquals: function (other) { return String(this) === String(other); },
    equals: function (other) { return typeof other === 'string' && String(this) === other; },
    equalsIgnoreCase: function (other) {
      return typeof other === 'string' && this.toUpperCase().toLowerCase() === other.toUpperCase().toLowerCase();
    },
    isEmpty: function () { return this.length === 0; },
    isBlank: function () { return native.trim.call(this) === ''; },
    strip: function () { return native.trim.call(this); },
    stripLeading: function () { return this.replace(/^\s+/, ''); },
    stripTrailing: function () { return this.replace(/\s+$/, ''); },
    compareTo: function (other) {
      other = String(other);
      for (var i = 0; i < this.length && i < other.length; i++) {
        if (this[i] !== other[i]) return this.charCodeAt(i) - other.charCodeAt(i);
      }
      return this.length - other.length;
    },
    compareToIgnoreCase: function (other) { return this.toLowerCase().compareTo(String(other).toLowerCase()); },
    hashCode: function () {
      for (var i = 0, hash = 0; i < this.length; i++) hash = (hash * 31 + this.charCodeAt(i)) | 0;
      return hash;
    },
    subSequence: function (begin, end) { return this.substring(begin, end); },
    toCharArray: function () { return this.split(''); },
    intern: function () { return String(this); },
    formatted: function () { return format(String(this), arguments); },
    // A static method in Java: through an instance, the format may be the text itself or the first argument.
    format: function (first) {
      if (this.indexOf('%') >= 0) return format(String(this), arguments);
      return format(String(first), Array.prototype.slice.call(arguments, 1));
    }
  });

  function JavaString(text) { return new.target ? String(text === undefined ? '' : text) : String(text); }
  define(JavaString, {
    format: function (text) { return format(String(text), Array.prototype.slice.call(arguments, 1)); },
    join: function (glue, parts) { return (Array.isArray(parts) ? parts : Array.prototype.slice.call(arguments, 1)).join(glue); },
    valueOf: function (value) { return String(value); }
  });

  define(global, {
    Java: {
      type: function (name) {
        if (name === 'java.lang.String') return JavaString;
        throw new TypeError('Access to host class ' + name + ' is not allowed or does not exist.');
      }
    },
    Packages: {java: {lang: {String: JavaString}}},
    load: function () { throw new TypeError('Cannot load a script'); },
    print: function () {}
  });
})
