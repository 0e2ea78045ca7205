import { crc32, deflateRawSync } from "node:zlib";

const VERSION = 20;
const UTF8_NAME = 0x0800;
const DEFLATE = 8;
/** 1980-01-01, the earliest date that the format knows: the same content gives the same bytes. */
const DOS_DATE = 0x21;

/** A ZIP archive with one file in it. */
export function zipOf(name: string, content: Buffer): Buffer {
  const nameBytes = Buffer.from(name);
  const packed = deflateRawSync(content, { level: 1 });
  const entry = Buffer.alloc(26);
  entry.writeUInt16LE(VERSION, 0);
  entry.writeUInt16LE(UTF8_NAME, 2);
  entry.writeUInt16LE(DEFLATE, 4);
  entry.writeUInt16LE(0, 6);
  entry.writeUInt16LE(DOS_DATE, 8);
  entry.writeUInt32LE(crc32(content), 10);
  entry.writeUInt32LE(packed.length, 14);
  entry.writeUInt32LE(content.length, 18);
  entry.writeUInt16LE(nameBytes.length, 22);
  const local = Buffer.concat([Buffer.from("PK\x03\x04"), entry, nameBytes, packed]);
  // Made by, then the entry again, then 14 bytes of comment, disk, attributes and offset, all zero.
  const directory = Buffer.concat([
    Buffer.from("PK\x01\x02"),
    Buffer.from([VERSION, 0]),
    entry,
    Buffer.alloc(14),
    nameBytes,
  ]);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(local.length, 16);
  return Buffer.concat([local, directory, end]);
}
